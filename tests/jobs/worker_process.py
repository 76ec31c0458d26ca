"""A worker as a process of its own: worker_process.py URL LOG deliver|count|die"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.model import Done, Outcome, Progress, QueueOptions
from fhirstore.jobs.run import JobRun
from fhirstore.jobs.runner import Runner
from fhirstore.settings import Settings
from fhirstore.store import open_store


def main(url: str, log: str, work: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def note(text: object) -> None:
        with Path(log).open("a") as file:  # one write, so that lines of two processes do not mix
            file.write(f"{os.getpid()} {text}\n")

    def deliver(run: JobRun) -> Outcome:
        note(f"{run.key} {run.payload}")
        return Done()

    def count(run: JobRun) -> Outcome:
        number = run.state or 0
        while True:  # until it is killed
            number += 1
            note(f"{run.key} {number}")
            run.checkpoint(number, Progress(number, run.payload))
            run.pause(0.01)

    def die(run: JobRun) -> Outcome:
        note(run.key)
        os.kill(os.getpid(), signal.SIGKILL)
        return Done()

    run = {"deliver": deliver, "count": count, "die": die}[work]
    handler = JobHandler("test", run, QueueOptions(lease_s=1.0, max_crashes=2), threads=2)
    Runner(open_store(url, Settings(write_timeout_s=60.0)), [handler], stop).run()


main(*sys.argv[1:])
