"""Counts and lists of jobs.

Counts and states come from the entries that are ordered by time (`records`), so payloads are read only of the jobs that
are listed.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from fhirstore.jobs import records
from fhirstore.jobs.model import PENDING_STATES, Job, JobState
from fhirstore.jobs.queue import effective_state
from fhirstore.jobs.records import DONE, DUE, ITEM, PARKED, WORK, Finished, JobStore, StoredItem, Work
from fhirstore.model.stored import Record
from fhirstore.store.protocol import with_snapshot

LISTED: tuple[JobState, ...] = ("parked", "running", "waiting", "queued")
"""The order of states in lists."""
FINISHED_STATES: tuple[JobState, ...] = ("done", "failed")
_ALL = 2**62


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """The undelivered jobs of a queue.

    counts, ids: by state; the ids in the order in which jobs are due or were parked. oldest: when the oldest job that
    is not parked was enqueued, in seconds since 1970, or None. attempts: made so far for jobs that are not parked."""

    counts: dict[JobState, int]
    ids: dict[JobState, list[str]]
    oldest: float | None
    attempts: int


def summarize(store: JobStore, queue: str, limit: int = 0, now: float | None = None) -> QueueSummary:
    """Counts all undelivered jobs and names at most `limit` of each state."""
    moment = time.time() if now is None else now
    return with_snapshot(store, lambda: _summarize(store, queue, limit, moment))


def _summarize(store: JobStore, queue: str, limit: int, now: float) -> QueueSummary:
    moment, oldest, attempts = records.due_key(queue, now, "~"), None, 0
    states: dict[str, JobState] = {}
    for one in records.scan(store, DUE, queue):
        id, entry = records.job_of(one.key), records.decode_entry(one.value or b"")
        state: JobState = "waiting" if entry.state == "running" and one.key <= moment else entry.state
        # A job has several entries if items were added. The entry of a running or waiting job takes precedence.
        if state == "running" or states.get(id) in (None, "queued"):
            states[id] = state
        attempts += entry.attempts
        if oldest is None or entry.at < oldest:
            oldest = entry.at
    for one in records.scan(store, PARKED, queue):
        # A new item revives a parked job, unless the items of a key are delivered one by one.
        if (id := records.job_of(one.key)) not in states or records.decode_entry(one.value or b"").blocks:
            states[id] = "parked"
    ids: dict[JobState, list[str]] = {state: [] for state in PENDING_STATES}
    counts: dict[JobState, int] = dict.fromkeys(PENDING_STATES, 0)
    for id, state in states.items():
        counts[state] += 1
        if len(ids[state]) < limit:
            ids[state].append(id)
    return QueueSummary(counts, ids, oldest, attempts)


def count_parked(store: JobStore, queue: str) -> int:
    """How many jobs are parked; counts at most `records.PAGE`."""
    found = store.records(PARKED, f"{queue} ", records.PAGE)
    return sum(one.key.startswith(f"{queue} ") for one in found)


def parked_ids(store: JobStore, queue: str) -> Iterator[str]:
    """The ids of all parked jobs, in the order in which they were parked."""
    return (records.job_of(one.key) for one in records.scan(store, PARKED, queue))


def list_jobs(
    store: JobStore, queue: str, states: Collection[str] = PENDING_STATES, limit: int | None = None
) -> Iterator[Job]:
    """Jobs in these states, at most `limit` of each: parked ones first, then running ones, then in the order in which
    they are due; finished ones last, the latest first if there is a limit. A job that changes meanwhile may be
    missing."""
    if not set(states).isdisjoint(PENDING_STATES):
        yield from load_jobs(store, queue, summarize(store, queue, _ALL if limit is None else limit), states)
    wanted = [state for state in FINISHED_STATES if state in states]
    if wanted:
        finished: Iterator[Record] = records.scan(store, DONE, queue)
        if limit is not None:
            latest = heapq.nlargest(limit, finished, key=lambda one: records.decode_time(one.value or b"").at)
            finished = iter(latest)
        for one in finished:
            job = find_job(store, queue, one.key.partition(" ")[2])
            if job is not None and job.state in wanted:
                yield job


def load_jobs(
    store: JobStore, queue: str, summary: QueueSummary, states: Collection[str] = PENDING_STATES
) -> Iterator[Job]:
    """The jobs that a summary names."""
    for id in [id for state in LISTED for id in summary.ids[state] if state in states]:
        if (job := find_job(store, queue, id)) is not None:
            yield job


def find_job(store: JobStore, queue: str, id: str, now: float | None = None) -> Job | None:
    """A job by its id; None if the queue does not know it, or its result has expired."""
    moment = time.time() if now is None else now
    return with_snapshot(store, lambda: _find_job(store, queue, id, moment))


def find_jobs(store: JobStore, queue: str, name: str) -> list[Job]:
    """The jobs with this key or id."""
    found = (find_job(store, queue, id) for id in dict.fromkeys((records.job_id(name), name)))
    return [job for job in found if job is not None]


def search_jobs(store: JobStore, queue: str, matches: Callable[[str, Any], bool]) -> Iterator[Job]:
    """The jobs for whose key and payload `matches` returns True. Reads the whole queue."""
    found: dict[str, None] = {}
    for kind in (ITEM, DONE):
        for one in records.scan(store, kind, queue):
            known = records.decode_name(one.value or b"")
            if matches(known.key, known.payload):
                found[one.key.split(" ")[1]] = None
    for id in found:
        if (job := find_job(store, queue, id)) is not None:
            yield job


def _find_job(store: JobStore, queue: str, id: str, now: float) -> Job | None:
    key = records.job_key(queue, id)
    value = records.get(store, DONE, key)
    done = None if value is None else records.decode_finished(value)
    if items := records.items_of(store, queue, id):
        value = records.get(store, WORK, key)
        work = Work() if value is None else records.decode_work(value)
        return _pending_job(queue, id, items, work, done, now)
    if done is None:
        return None
    return Job(
        queue, id, done.key, done.state, done.payload, done.created, done.seq, 0, done.attempts, finished=done.at,
        error=done.error, outcome=done.outcome, progress=done.progress, result=done.result,
    )  # fmt: skip


def _pending_job(queue: str, id: str, items: list[StoredItem], work: Work, done: Finished | None, now: float) -> Job:
    target = records.next_item(items)
    state, item = effective_state(work, target.seq, now), records.decode_item(target.value)
    return Job(
        queue, id, item.key, state, item.payload, item.at, target.seq, len(items), work.attempts,
        next=work.next or None, finished=None if done is None else done.at,
        owner=work.owner if state == "running" else "", error=work.error, outcome=work.outcome, progress=work.progress,
        result=None if done is None else done.result,
    )  # fmt: skip
