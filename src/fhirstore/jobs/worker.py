"""Workers: find due jobs, run them under a lease, and store the outcome. Any number may work on one store."""

from __future__ import annotations

import contextlib
import logging
import queue as queues
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fhirstore.jobs import control, stats
from fhirstore.jobs.model import Done, JobHandler, Outcome, Progress, Rejected, Retry
from fhirstore.jobs.queue import Claim, JobQueue
from fhirstore.jobs.schedule import Schedule
from fhirstore.jobs.stats import StatsWriter
from fhirstore.store.errors import StoreError
from fhirstore.store.protocol import Store

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at a queue."""
MOST = 200
"""Jobs that one worker has in memory, of however many are due."""
LEAVE_S = 1.5
"""Seconds that running jobs have to end when the process does."""
_TIDY_S = 3600.0


class JobInterrupted(Exception):
    """Raised in a handler by `JobRun` when it must end: the process stops, or the lease was lost. Handlers let it
    pass; the job continues elsewhere from its last checkpoint."""


class JobRun:
    """One run of a job, given to the handler.

    key, payload: of the item. attempts: of this item, at least 1. is_first: no earlier attempt for this key can have had
    an effect. last_result: of the last finished item of the key, or None. state: the last checkpoint, or None."""

    def __init__(self, queue: JobQueue, claim: Claim, stop: threading.Event) -> None:
        self.queue, self.stop = queue, stop
        self.key, self.payload = claim.item.key, claim.item.payload
        self.oldest_payload, self.attempts = claim.oldest.payload, claim.work.attempts
        self.is_first = claim.is_first_attempt and claim.oldest_seq == 1
        self.last_result: Any = None if claim.last is None else claim.last.result
        self.state: Any = claim.work.checkpoint
        self.progress: Progress | None = claim.work.progress
        self._claim, self._lock, self._is_lost = claim, threading.Lock(), False

    def checkpoint(self, state: Any = None, progress: Progress | None = None) -> None:
        """Notes how far the run has come. state: JSON-able; a later run continues from it. It is stored when the lease
        is renewed and when the run ends, so this is cheap. Raises JobInterrupted."""
        self.state = state
        if progress is not None:
            self.progress = progress
        self.check()

    def check(self) -> None:
        """Raises JobInterrupted if the run must end."""
        if self._is_lost or self.stop.is_set():
            raise JobInterrupted

    def pause(self, seconds: float) -> None:
        """Waits. Raises JobInterrupted."""
        self.stop.wait(seconds)
        self.check()

    def renew(self) -> None:
        """Extends the lease if a third of it has passed, and stores the last checkpoint. Thread-safe."""
        with self._lock:
            left = self._claim.work.until - self.queue.clock()
            if self._is_lost or left > self.queue.options.lease_s * 2 / 3:
                return
            renewed = self.queue.renew(self._claim, self.progress, self.state)
            if renewed is None:
                self._is_lost = True
            else:
                self._claim = renewed

    def release(self) -> bool:
        """Gives the job back; a later run continues from the last checkpoint."""
        with self._lock:
            return not self._is_lost and self.queue.release(self._claim, self.progress, self.state)

    def store(self, outcome: Outcome, writer: StatsWriter | None = None) -> str | None:
        """Stores the outcome; returns the new state of the job, or None if the lease was lost."""
        with self._lock:
            claim, queue = self._claim, self.queue
            if isinstance(outcome, Done):
                return "done" if queue.complete(claim, outcome.result, writer, self.progress) else None
            return queue.fail(claim, outcome, writer, self.progress, self.state)


def run_job(queue: JobQueue, handler: JobHandler, run: JobRun, writer: StatsWriter | None = None) -> str | None:
    """Runs a claimed job and stores the outcome; the new state of the job, None if the lease was lost or the run was
    interrupted."""
    try:
        outcome = handler.run(run) or Done()
    except JobInterrupted:
        run.release()
        return None
    except StoreError as problem:
        outcome = Retry(f"The store is unavailable: {problem}")
    except Exception as problem:
        log.exception("job %s of queue %s failed", run.key, queue.name)
        outcome = Retry(f"{type(problem).__name__}: {problem}", unavailable=True)
    if handler.breaker is not None:
        if isinstance(outcome, Retry) and outcome.unavailable:
            handler.breaker.record_failure()
        else:
            handler.breaker.record_success()
    state = run.store(outcome, writer)
    if isinstance(outcome, Retry | Rejected):
        _log_failure(queue, run, outcome, state)
    return state


def _log_failure(queue: JobQueue, run: JobRun, outcome: Retry | Rejected, state: str | None) -> None:
    level = logging.ERROR if state in ("parked", "failed") else logging.INFO
    log.log(level, "job %s of queue %s failed (%s): %s", run.key, queue.name, state or "lease lost", outcome.error)


class Worker:
    """Runs the jobs of one queue in threads of its own, until `stop` is set."""

    def __init__(
        self, store: Store, handler: JobHandler, stop: threading.Event, clock: Callable[[], float] = time.time
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
            pause = max(LOOK_S, 10 * (time.monotonic() - begun))  # a slow store is asked less often
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
        claim = self.queue.claim(id)
        if claim is None:
            return False
        run = JobRun(self.queue, claim, self._stop)
        with self._lock:
            self._runs.add(run)
        try:
            return run_job(self.queue, self._handler, run, writer) == "done"
        finally:
            with self._lock:
                self._runs.discard(run)


@contextlib.contextmanager
def renewed(run: JobRun, every_s: float = LOOK_S) -> Iterator[None]:
    """Renews the lease of a run in a thread of its own, for a job that a command runs itself."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(every_s):
            try:
                run.renew()
            except StoreError as problem:
                log.warning("the lease of job %s was not renewed: %s", run.key, problem)

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
