"""Workers: find due jobs, run them under a lease, and store the outcome. Any number may work on one store."""

from __future__ import annotations

import logging
import queue as queues
import threading
import time
from collections.abc import Callable

from fhirstore.jobs import control, stats
from fhirstore.jobs.handler import JobHandler, run_job
from fhirstore.jobs.queue import JobQueue
from fhirstore.jobs.records import JobStore
from fhirstore.jobs.run import JobRun
from fhirstore.jobs.schedule import Schedule
from fhirstore.jobs.stats import StatsWriter
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at a queue."""
MOST = 200
"""Jobs that one worker has in memory, of however many are due."""
LEAVE_S = 1.5
"""Seconds that running jobs have to end when the process does."""
_TIDY_S = 3600.0


class Worker:
    """Runs the jobs of one queue in threads of its own, until `stop` is set."""

    def __init__(
        self, store: JobStore, handler: JobHandler, stop: threading.Event, clock: Callable[[], float] = time.time
    ) -> None:
        self.queue = JobQueue(store, handler.queue, handler.options, clock)
        self._store, self._handler, self._stop = store, handler, stop
        self._schedule = Schedule(self.queue, handler.every_s) if handler.every_s else None
        self._due: queues.SimpleQueue[str] = queues.SimpleQueue()
        self._busy: set[str] = set()
        self._runs: set[JobRun] = set()
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._has_more = False
        self._tidy_at = 0.0

    def run(self) -> None:
        """Returns when `stop` is set and running jobs have had a moment to end."""
        threads = [
            threading.Thread(target=self._work, name=f"{self.queue.name}-{n}", daemon=True)
            for n in range(self._handler.threads)
        ]
        for thread in threads:
            thread.start()
        pause = 0.0
        while not self._stop.wait(pause):
            begun = time.monotonic()
            self._enqueue()
            self._look()
            self._renew()
            self._tidy()
            # A slow store is asked less often, but leases must be renewed.
            pause = min(max(LOOK_S, 10 * (time.monotonic() - begun)), self._handler.options.lease_s / 3)
        # Jobs that end now store their outcome; the lease of the others expires.
        give_up = time.monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(give_up - time.monotonic(), 0.0))
        if self._handler.close is not None:
            self._handler.close()

    def _enqueue(self) -> None:
        if self._schedule is None:
            return
        try:
            self._schedule.enqueue()
        except StoreError as problem:
            log.warning("the next run of queue %s was not enqueued: %s", self.queue.name, problem)

    def _look(self) -> None:
        if not self._looking.acquire(blocking=False):
            return
        try:
            with self._lock:
                busy = set(self._busy)
            room = MOST - self._due.qsize()
            found = self.queue.due(room, busy) if room > 0 else []
            self._has_more = len(found) == room
            with self._lock:
                self._busy.update(found)
            for id in found:
                self._due.put(id)
        except StoreError as problem:
            log.warning("queue %s cannot be read now: %s", self.queue.name, problem)
        except Exception:
            log.exception("queue %s cannot be read", self.queue.name)
        finally:
            self._looking.release()

    def _renew(self) -> None:
        with self._lock:
            runs = list(self._runs)
        for run in runs:
            try:
                run.renew()
            except StoreError as problem:
                log.warning("the lease of job %s of queue %s was not renewed: %s", run.key, self.queue.name, problem)

    def _tidy(self) -> None:
        now = self.queue.clock()
        if now < self._tidy_at:
            return
        self._tidy_at = now + _TIDY_S
        try:
            control.forget(self.queue, now - self._handler.options.keep_done_s)
            stats.merge(self._store, self.queue.name, now - stats.SILENT_S)
        except StoreError as problem:
            log.warning("old results of queue %s cannot be deleted now: %s", self.queue.name, problem)

    def _work(self) -> None:
        writer = StatsWriter(self.queue.name, self.queue.clock)
        while not self._stop.is_set():
            try:
                id = self._due.get(timeout=LOOK_S)
            except queues.Empty:
                continue
            try:
                breaker = self._handler.breaker
                if breaker is not None and not breaker.wait(self._stop):
                    return
                # Items of the key that came meanwhile are delivered at once.
                while not self._stop.is_set() and self._run(id, writer):
                    pass
            except StoreError as problem:
                log.warning("the outcome of a job of queue %s was not stored: %s", self.queue.name, problem)
            except Exception:
                log.exception("a worker of queue %s failed", self.queue.name)
            finally:
                with self._lock:
                    self._busy.discard(id)
            if self._has_more and self._due.qsize() < MOST // 2:
                self._look()

    def _run(self, id: str, writer: StatsWriter) -> bool:
        """Whether the job may have another item to deliver at once."""
        claim = self.queue.claim(id, writer)
        if claim is None:
            return False
        run = JobRun(self.queue, claim, self._stop)
        with self._lock:
            self._runs.add(run)
        try:
            return run_job(self._handler, run, writer) == "done"
        finally:
            with self._lock:
                self._runs.discard(run)
