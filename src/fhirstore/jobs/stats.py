"""Counters of queues that survive restarts.

Every worker thread writes a record of its own in the commit that stores an outcome, so that threads do not conflict and
nothing is counted twice. Records of threads that have been silent for long are merged into one.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from fhirstore.jobs import records
from fhirstore.jobs.records import JobStore
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.errors import GuardChanged

KIND = "job-stats"
MERGED = "merged"
SILENT_S = 86400.0
_MOST = 500  # records that are merged in one commit


class JobCounts(msgspec.Struct, frozen=True):
    """done: items delivered. failed: attempts that failed; parked: those after which the job was not tried again. last:
    time of the last delivery; at: of the record; seconds since 1970, 0 = never."""

    done: int = 0
    failed: int = 0
    parked: int = 0
    last: float = 0.0
    at: float = 0.0

    def __add__(self, other: JobCounts) -> JobCounts:
        return JobCounts(
            self.done + other.done,
            self.failed + other.failed,
            self.parked + other.parked,
            max(self.last, other.last),
            max(self.at, other.at),
        )


_decode = msgspec.json.Decoder(JobCounts).decode
_encode = msgspec.json.encode


class StatsWriter:
    """The counters of one thread of one worker."""

    def __init__(self, queue: str, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._key = clock, f"{queue} {uuid.uuid4().hex}"
        self._seen: bytes | None = None
        self._counts = JobCounts()

    def add(self, counts: JobCounts) -> StatsUpdate:
        """The guard and the record of a commit that adds these counts."""
        total = self._counts + msgspec.structs.replace(counts, at=self._clock())
        value = _encode(total)
        return StatsUpdate(self, RecordGuard(KIND, self._key, self._seen), Record(KIND, self._key, value), total)

    def _set(self, seen: bytes | None, counts: JobCounts) -> None:
        self._seen, self._counts = seen, counts


@dataclass(frozen=True, slots=True)
class StatsUpdate:
    """Counters that a commit stores."""

    writer: StatsWriter
    guard: RecordGuard
    record: Record
    total: JobCounts

    def stored(self) -> None:
        """Called after the commit."""
        self.writer._set(self.record.value, self.total)

    def merged(self) -> None:
        """Called if the guard has changed: another server has merged the record, so the thread starts from zero."""
        self.writer._set(None, JobCounts())


def total(store: JobStore, queue: str) -> JobCounts:
    """The sum of all workers of a queue since the store was created."""
    return sum((_decode(one.value or b"") for one in records.scan(store, KIND, queue)), JobCounts())


def merge(store: JobStore, queue: str, before: float) -> int:
    """Merges the records of threads that have been silent since that time (seconds since 1970); returns how many."""
    prefix = f"{queue} "
    known = {one.key: one.value or b"" for one in store.records(KIND, prefix, _MOST) if one.key.startswith(prefix)}
    merged = prefix + MERGED
    old = [key for key, value in known.items() if key != merged and _decode(value).at < before]
    if not old:
        return 0
    past = records.get(store, KIND, merged)
    counts = [JobCounts() if past is None else _decode(past), *(_decode(known[key]) for key in old)]
    guards = [RecordGuard(KIND, merged, past), *(RecordGuard(KIND, key, known[key]) for key in old)]
    changed = [Record(KIND, merged, _encode(sum(counts, JobCounts()))), *(Record(KIND, key, None) for key in old)]
    try:
        store.commit([], guards, changed)
    except GuardChanged:
        return 0  # one of the threads was not silent; the next merge includes the others
    return len(old)
