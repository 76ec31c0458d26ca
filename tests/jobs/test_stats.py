"""Counters of queues: exact, whoever counts, and small."""

from __future__ import annotations

from jobs_support import claimed, job
from support.clock import Clock

from fhirstore.jobs import records, stats
from fhirstore.jobs.model import Rejected, Retry
from fhirstore.jobs.queue import JobQueue
from fhirstore.jobs.stats import JobCounts, StatsWriter
from fhirstore.store.protocol import Store


def rows(store: Store) -> int:
    return len(list(records.scan(store, stats.KIND, "test")))


def test_each_thread_counts_its_outcomes(queue: JobQueue, store: Store, clock: Clock) -> None:
    writers = [StatsWriter("test", clock), StatsWriter("test", clock)]
    for n, key in enumerate(("a", "b", "a-")):
        queue.submit(key)
        assert queue.complete(claimed(queue, key), None, writers[n % 2])
    queue.submit("a")
    queue.fail(claimed(queue, "a"), Retry("x"), writers[0])
    clock.advance(100)
    queue.fail(claimed(queue, "a"), Rejected("x"), writers[0])
    found = stats.total(store, "test")
    assert (found.done, found.failed, found.parked, found.last > 0) == (3, 2, 1, True)
    assert stats.total(store, "other") == JobCounts()


def test_a_lost_lease_counts_nothing(queue: JobQueue, store: Store, clock: Clock) -> None:
    queue.submit("a")
    dead = claimed(queue, "a")
    clock.advance(61)
    claimed(queue, "a")
    assert not queue.complete(dead, None, StatsWriter("test", clock))
    assert (stats.total(store, "test"), job(queue, "a").state) == (JobCounts(), "running")


def test_records_of_silent_threads_are_merged(queue: JobQueue, store: Store, clock: Clock) -> None:
    writers = [StatsWriter("test", clock) for _ in range(3)]

    def deliver(n: int) -> None:
        queue.submit("a")
        assert queue.complete(claimed(queue, "a"), None, writers[n % 3])

    for n in range(6):
        deliver(n)
    assert stats.merge(store, "test", clock() - 10) == 0
    assert stats.merge(store, "test", clock() + 10) == 3
    assert (rows(store), stats.total(store, "test").done) == (1, 6)
    deliver(1)  # the thread was not as silent as it seemed
    assert (rows(store), stats.total(store, "test").done) == (2, 7)
    assert stats.merge(store, "test", clock() + 10) == 1
    assert (rows(store), stats.total(store, "test").done) == (1, 7)
