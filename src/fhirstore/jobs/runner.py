"""The jobs that one process runs: a worker for each queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.records import JobStore
from fhirstore.jobs.worker import Worker


class Runner:
    """Runs the jobs of these handlers until `stop` is set. Several runners may share a store, in one process or in
    many. Raises ValueError if two handlers have one queue."""

    def __init__(
        self,
        store: JobStore,
        handlers: Iterable[JobHandler],
        stop: threading.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workers: dict[str, Worker] = {}
        for handler in handlers:
            if handler.queue in self._workers:
                raise ValueError(f"Two handlers are declared for the queue {handler.queue}.")
            self._workers[handler.queue] = Worker(store, handler, stop, clock)

    def run(self) -> None:
        """Returns when `stop` is set and running jobs have had a moment to end; without handlers, at once."""
        threads = [
            threading.Thread(target=worker.run, name=f"jobs-{name}", daemon=True)
            for name, worker in self._workers.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
