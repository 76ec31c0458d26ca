"""One run of a job, as its handler sees it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

from fhirstore.jobs.model import Done, Outcome, Progress
from fhirstore.jobs.queue import Claim, JobQueue
from fhirstore.jobs.stats import StatsWriter
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)

RENEW_S = 0.5
"""Seconds between two checks whether a lease must be renewed."""


class JobInterrupted(Exception):
    """Raised in a handler by `JobRun` when it must end: the process stops, or the lease was lost. Handlers let it
    pass; the job continues elsewhere from its last checkpoint."""


class JobRun:
    """One run of a job, given to the handler.

    key, payload: of the item. oldest_payload: of the oldest item of the key that this run delivers. attempts: of this
    item, at least 1. is_first: no earlier attempt for this key can have had an effect. last_result: of the last
    finished item of the key, or None. state: the last checkpoint, or None."""

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


@contextlib.contextmanager
def renewed(run: JobRun, every_s: float = RENEW_S) -> Iterator[None]:
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
