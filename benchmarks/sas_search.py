"""The largest answer that the SAS asks for: 25 practitioners, three days, some 1 800 free slots. Prints figures.

python benchmarks/sas_search.py [--seconds 10] [--core 0]; see README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time

import agenda
from client import Connection
from run_floor import HOST, check, load, started

SLOTS = 18
"""Of each schedule and day; two of three are free."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--port", type=int, default=18088, help="a free port")
    options.add_argument("--core", type=int, help="the core of the server alone; the client takes the others")
    given = options.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})  # children keep it
    with tempfile.TemporaryDirectory(prefix="fhirstore-sas-") as folder:
        store = f"sqlite:///{folder}/sas.db"
        command = ("-m", "fhirstore", "serve", "--port", str(given.port), "--store", store, "--plugin", "sas")
        with started("fhirstore", given.port, *command, "--workers", "1") as server:
            if given.core is not None:
                os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {given.core})
            load(given.port, agenda.resources(slots=SLOTS))
            measure(server.port, given.seconds)


def measure(port: int, seconds: float) -> None:
    times, slots, sizes = list[float](), list[int](), list[int]()
    with Connection(HOST, port) as connection:
        end = time.perf_counter() + seconds
        for url in itertools.cycle(agenda.searches(days=agenda.DAYS)):
            begin = time.perf_counter()
            if begin > end:
                break
            reply = connection.call("GET", url)
            times.append(time.perf_counter() - begin)
            check(reply, 200)
            if len(slots) < 100:
                slots.append(json.loads(reply.body)["total"])
                sizes.append(len(reply.body))
    times = sorted(times[len(times) // 10 :])  # the first ones fill the memory
    print(
        f"{len(times)} answers of {min(slots)} to {max(slots)} slots, {statistics.mean(sizes) / 1e6:.2f} MB: "
        f"median {1000 * statistics.median(times):.1f} ms, p99 {1000 * times[int(0.99 * len(times))]:.1f} ms"
    )


if __name__ == "__main__":
    main()
