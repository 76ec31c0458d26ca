"""Commits per second on MongoDB's stand-in (tests/support/replica) with a network's round trips, for docs/adr/0005.

    .venv/bin/python benchmarks/mongo_commits.py

Two processes of four threads each create resources: without a guard, each with a guard on an identifier of its own, and
each with a guard on a text. With one shard of the clock, all commits conflict; with 32, few do. Each command takes 1 ms
more than on the stand-in, a commit 5 ms. The stand-in is one Python process, so the figures compare the variants; they
do not tell how fast MongoDB is.
"""

# ruff: noqa: E402
from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import pymongo.synchronous.pool
from support.mongo import Replica

from fhirstore.model.conditions import String, Token
from fhirstore.model.indexing import IndexedParameter, Schema
from fhirstore.model.stored import Change, Guard
from fhirstore.store.mongo import MongoStore, clock

SECONDS, PROCESSES, THREADS = 6, 2, 4
SCHEMA = Schema(
    {
        "Thing": {
            "id": IndexedParameter("id", "token", False, "1", True),
            "name": IndexedParameter("name", "string", False, "1"),
        }
    }
)


def guards(kind: str, key: str) -> list[Guard]:
    where = {"identifier": Token("id", "s", key), "text": String("name", "exact", key)}
    return [Guard("Thing", where[kind], frozenset())] if kind in where else []


def slow_down() -> None:
    command = pymongo.synchronous.pool.Connection.command

    def later(self: Any, database: str, spec: Any, *args: Any, **more: Any) -> Any:
        time.sleep(0.005 if "commitTransaction" in spec else 0.001)
        return command(self, database, spec, *args, **more)

    pymongo.synchronous.pool.Connection.command = later  # type: ignore[method-assign]


def work(url: str, hands: int, kind: str, process: int, results: Any) -> None:
    clock.SHARD_IDS, clock.CLOCK_SHARDS = clock.SHARD_IDS[:hands], hands
    store = MongoStore(url)
    store.open(SCHEMA)
    store.probe()
    slow_down()
    counts = [0] * THREADS
    until = time.monotonic() + SECONDS

    def run(thread: int) -> None:
        while time.monotonic() < until:
            key = f"{process}-{thread}-{counts[thread]}"
            index = {"id": [("s", key)], "name": [(key, key)]}
            store.commit([Change("Thing", key, None, "POST", b"", b'"a":1', index)], guards(kind, key))
            counts[thread] += 1

    threads = [threading.Thread(target=run, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    results.put(sum(counts))


def measure(kind: str, hands: int) -> float:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        server, results = Replica(Path(folder) / "journal"), context.Queue()
        workers = [
            context.Process(target=work, args=(server.named("x"), hands, kind, n, results)) for n in range(PROCESSES)
        ]
        for worker in workers:
            worker.start()
        total = sum(results.get() for _ in workers)
        for worker in workers:
            worker.join()
        server.close()
    return float(total / SECONDS)


if __name__ == "__main__":
    print("guards      1 shard 32 shards   commits per second")
    for kind in ("none", "identifier", "text"):
        print(f"{kind:10} {measure(kind, 1):7.0f} {measure(kind, 32):9.0f}", flush=True)
