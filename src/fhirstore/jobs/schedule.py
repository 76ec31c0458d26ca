"""Periodic jobs: one of all servers enqueues the next run."""

from __future__ import annotations

from fhirstore.jobs import records
from fhirstore.jobs.queue import JobQueue

_CHECK_S = 60.0


class Schedule:
    """Enqueues the job of a queue every so many seconds, counted from when the last one was enqueued by any server; the
    first one, as long after the start of the server, so that it does not slow down the start.

    Every server checks; a guard on the number of items lets one of them enqueue. A run that takes longer than the
    interval is followed by the next one at once."""

    def __init__(self, queue: JobQueue, every_s: float) -> None:
        self._queue, self._every_s = queue, every_s
        self._started = queue.clock()
        self._check_at = 0.0

    @property
    def key(self) -> str:
        """The key of the job: there is one per queue."""
        return self._queue.name

    def due_at(self) -> float:
        """When the next run is due, in seconds since 1970."""
        queue = self._queue
        done = records.get(queue.store, records.DONE, records.job_key(queue.name, records.job_id(self.key)))
        last = self._started if done is None else records.decode_finished(done).created
        return last + self._every_s

    def enqueue(self) -> bool:
        """Enqueues the next run if it is due and none is pending. Reads the store only when a run may be due. Raises
        StoreError."""
        now = self._queue.clock()
        if now < self._check_at:
            return False
        due = self.due_at()
        if due > now:
            self._check_at = min(due, now + _CHECK_S)
            return False
        self._check_at = now + min(self._every_s, _CHECK_S)
        return self._queue.submit_if_idle(self.key, created_before=now - self._every_s)
