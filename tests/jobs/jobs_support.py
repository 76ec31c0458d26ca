"""Helpers of the tests of jobs."""

from __future__ import annotations

from fhirstore.jobs import records
from fhirstore.jobs.model import Job
from fhirstore.jobs.queue import Claim, JobQueue, job_id
from fhirstore.jobs.summary import find_job

KEYS = ("a", "b", "a-", "a.", "aa", "A", "a0", *(f"n{n:02}" for n in range(20)))
NAMES = {job_id(key): key for key in KEYS}


def due(queue: JobQueue) -> list[str]:
    """The keys of the jobs that are due."""
    return [NAMES[id] for id in queue.due(1000)]


def claim(queue: JobQueue, key: str) -> Claim | None:
    return queue.claim(job_id(key))


def claimed(queue: JobQueue, key: str) -> Claim:
    found = claim(queue, key)
    assert found is not None
    return found


def job(queue: JobQueue, key: str) -> Job:
    found = find_job(queue.store, queue.name, job_id(key), queue.clock())
    assert found is not None
    return found


def is_empty(queue: JobQueue) -> bool:
    """Whether nothing is left but results and the numbers of keys."""
    kinds = (records.ITEM, records.DUE, records.PARKED, records.WORK)
    return not any(list(records.scan(queue.store, kind, queue.name)) for kind in kinds)
