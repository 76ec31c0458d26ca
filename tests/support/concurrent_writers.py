"""Twenty writers in two processes that compete for the same change of a MongoDB store. New processes import it."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from fhirstore.model.conditions import Token
from fhirstore.model.indexing import IndexedParameter, Schema
from fhirstore.model.stored import Change, Guard
from fhirstore.store.errors import DuplicateKey, GuardChanged, VersionConflict
from fhirstore.store.mongo import MongoStore
from fhirstore.store.protocol import Store

WRITERS = 20
SCHEMA = Schema({"Thing": {"tok": IndexedParameter("tok", "token", False, "1")}})
Work = Callable[[Store, int], object]


def with_guard(store: Store, n: int) -> None:
    change = Change("Thing", f"g{n}", None, "PUT", index={"tok": [("s", "same")]})
    store.commit([change], [Guard("Thing", Token("tok", "s", "same"), frozenset())])


def with_unique_key(store: Store, n: int) -> None:
    store.commit([Change("Thing", f"k{n}", None, "PUT", unique=("key",))])


def on_one_id(store: Store, n: int) -> None:
    store.commit([Change("Thing", "one", None, "PUT", b"", str(n).encode())])


def on_one_version(store: Store, n: int) -> None:
    store.commit([Change("Thing", "z", 1, "PUT", b"", str(n).encode())])


def outcomes(url: str, work: Work) -> Counter[str]:
    """How often each outcome occurred, with two processes of ten threads each: "won" or the name of an error."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(WRITERS), context.Queue()
    halves = [list(range(WRITERS))[half::2] for half in (0, 1)]
    processes = [context.Process(target=_run, args=(url, work, half, barrier, results), daemon=True) for half in halves]
    for process in processes:
        process.start()
    found = Counter(results.get(timeout=100) for _ in range(WRITERS))
    for process in processes:
        process.join()
    return found


def _run(url: str, work: Work, numbers: list[int], barrier: Any, results: Any) -> None:
    store = MongoStore(url, write_timeout_s=60)
    store.open(SCHEMA)

    def compete(n: int) -> None:
        barrier.wait()
        try:
            work(store, n)
            results.put("won")
        except (VersionConflict, DuplicateKey, GuardChanged) as problem:
            results.put(type(problem).__name__)
        except Exception as problem:
            results.put(repr(problem))

    threads = [threading.Thread(target=compete, args=(n,)) for n in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
