"""fhirstore against the floor (floor.py), in alternation on one machine.

python benchmarks/run_floor.py [--seconds 5] [--rounds 5]; see README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agenda
from client import Connection, Reply

HOST = "127.0.0.1"
HERE = Path(__file__).resolve().parent
Requests = Callable[[], tuple[str, str, bytes]]
"""Gives the next request: method, URL, body."""


@dataclass
class Workload:
    name: str
    next: Requests
    status: int
    goal: float
    """Least ratio floor / ours of the p50 at one client."""


@dataclass
class Server:
    name: str
    process: subprocess.Popen[str]
    port: int
    times: dict[str, list[float]] = field(default_factory=dict)

    def cpu(self) -> float:
        """Seconds of CPU that the process and its children have used."""
        ticks = 0
        for pid in _tree(self.process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


@contextmanager
def started(name: str, port: int, *command: str) -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, *command], text=True, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{name} has ended with status {process.returncode}")
            try:
                Connection(HOST, port).close()
                break
            except OSError:
                time.sleep(0.05)
        yield Server(name, process, port)
    finally:
        process.terminate()
        process.wait(30)


def load(port: int, resources: Iterable[dict[str, Any]]) -> None:
    """Resources with ids, in transactions of 500."""
    entries = [
        {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in resources
    ]
    with Connection(HOST, port) as connection:
        for start in range(0, len(entries), 500):
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries[start : start + 500]}
            reply = connection.call("POST", "/fhir", json.dumps(bundle).encode())
            if reply.status != 200:
                raise SystemExit(f"the agenda is refused: {reply.body.decode()[:1000]}")


def check(reply: Reply, status: int) -> None:
    if reply.status != status:
        raise SystemExit(f"{status} was expected, {reply.status} came: {reply.body.decode()[:1000]}")


def measure(server: Server, workload: Workload, seconds: float) -> None:
    """One client, back to back; the times go to `server.times`."""
    times = server.times.setdefault(workload.name, [])
    with Connection(HOST, server.port) as connection:
        end = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < end:
            reply = connection.call(*workload.next())
            times.append(time.perf_counter() - begin)
            check(reply, workload.status)


def cpu_per_operation(server: Server, workload: Workload, seconds: float, clients: int = 8) -> float:
    """Seconds of the server's CPU for one operation while so many clients ask."""
    counts = [0] * clients
    end = time.perf_counter() + seconds

    def ask(n: int) -> None:
        with Connection(HOST, server.port) as connection:
            while time.perf_counter() < end:
                check(connection.call(*workload.next()), workload.status)
                counts[n] += 1

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(clients)]
    before = server.cpu()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (server.cpu() - before) / sum(counts)


def workloads() -> tuple[list[str], list[Workload]]:
    """(all URLs that are read, the workloads)"""
    rng = random.Random(7)
    reads, searches = agenda.reads(), agenda.searches()
    numbers = itertools.count(int(time.time()) * 1000)

    def create() -> tuple[str, str, bytes]:
        return "POST", "/fhir/Appointment", agenda.appointment(next(numbers))

    return [*reads, *searches], [
        Workload("W3 read", lambda: ("GET", rng.choice(reads), b""), 200, 0.6),
        Workload("W4 PS search 25 ids", lambda: ("GET", rng.choice(searches), b""), 200, 0.2),
        Workload("W2 create Appointment", create, 201, 0.3),
    ]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=6, help="turns of each server for each workload")
    options.add_argument("--seconds", type=float, default=1.0, help="length of a turn")
    options.add_argument("--port", type=int, default=18080, help="the first of two free ports")
    options.add_argument("--plugin", default="sas", help="plugin of fhirstore; empty = none")
    given = options.parse_args()
    urls, all_workloads = workloads()
    plugin = ["--plugin", given.plugin] if given.plugin else []
    with tempfile.TemporaryDirectory(prefix="fhirstore-floor-") as folder:
        file = Path(folder, "urls.txt")
        file.write_text("\n".join(urls), "utf-8")
        ours_at, floor_at = given.port, given.port + 1
        store = f"sqlite:///{folder}/ours.db"
        ours_command = ("-m", "fhirstore", "serve", "--port", str(ours_at), "--store", store)
        floor_command = (str(HERE / "floor.py"), "--source-port", str(ours_at), "--port", str(floor_at))
        with started("fhirstore", ours_at, *ours_command, *plugin) as ours:
            load(ours_at, agenda.resources())
            rest = ("--urls", str(file), "--database", f"{folder}/floor.db")
            with started("floor", floor_at, *floor_command, *rest) as floor:
                return compare(ours, floor, all_workloads, given.rounds, given.seconds)


def compare(ours: Server, floor: Server, all_workloads: list[Workload], rounds: int, seconds: float) -> int:
    met = True
    print(f"{'':24}{'p50: ours':>12}{'floor':>12}{'ratio':>8}{'goal':>6}{'CPU/op at 8 clients: ours':>30}{'floor':>12}")
    for workload in all_workloads:
        for server in (ours, floor):
            measure(server, workload, 0.5)  # warm-up
            server.times.clear()
        for _ in range(rounds):
            for server in (ours, floor):
                measure(server, workload, seconds)
        p50 = [statistics.median(s.times[workload.name]) for s in (ours, floor)]
        cpu = [cpu_per_operation(s, workload, 2 * seconds) for s in (ours, floor)]
        ratio = p50[1] / p50[0]
        met = met and ratio >= workload.goal
        print(
            f"{workload.name:24}{1000 * p50[0]:9.3f} ms{1000 * p50[1]:9.3f} ms{ratio:8.2f}{workload.goal:6.1f}"
            f"{1000 * cpu[0]:27.3f} ms{1000 * cpu[1]:9.3f} ms",
            flush=True,
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
