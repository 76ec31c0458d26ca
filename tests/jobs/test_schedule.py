"""Periodic jobs: one of several servers enqueues each run."""

from __future__ import annotations

import threading

import pytest
from support.clock import Clock

from fhirstore.jobs.model import Rejected
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.schedule import Schedule

ID = job_id("test")


def finish(queue: JobQueue) -> None:
    found = queue.claim(ID)
    assert found is not None
    assert queue.complete(found)


def test_the_first_run_comes_one_interval_after_the_start(queue: JobQueue, clock: Clock) -> None:
    schedule = Schedule(queue, 900.0)
    clock.advance(890)
    assert not schedule.enqueue()
    clock.advance(10)
    assert schedule.enqueue()
    assert queue.due(10) == [ID]


def test_a_run_of_another_server_counts(queue: JobQueue, clock: Clock) -> None:
    first = Schedule(queue, 900.0)
    clock.advance(901)
    second = Schedule(queue, 900.0)
    assert first.enqueue()
    finish(queue)
    clock.advance(899)
    assert not second.enqueue()
    clock.advance(61)
    assert second.enqueue()
    assert not first.enqueue()


def test_of_several_servers_one_enqueues(queue: JobQueue, clock: Clock) -> None:
    schedules = [Schedule(queue, 900.0) for _ in range(6)]
    clock.advance(901)
    barrier, found = threading.Barrier(6), []

    def check(schedule: Schedule) -> None:
        barrier.wait()
        found.append(schedule.enqueue())

    threads = [threading.Thread(target=check, args=(one,)) for one in schedules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 5 + [True]


def test_a_run_that_is_pending_or_running_is_not_doubled(queue: JobQueue, clock: Clock) -> None:
    schedule = Schedule(queue, 30.0)
    clock.advance(31)
    assert schedule.enqueue()
    clock.advance(31)
    assert not schedule.enqueue()
    running = queue.claim(ID)
    assert running is not None
    clock.advance(31)
    assert not schedule.enqueue()
    assert queue.complete(running)
    clock.advance(31)
    assert schedule.enqueue()


def test_the_run_of_a_killed_server_is_taken_over_not_doubled(queue: JobQueue, clock: Clock) -> None:
    schedule = Schedule(queue, 30.0)
    clock.advance(31)
    assert schedule.enqueue()
    assert queue.claim(ID) is not None
    clock.advance(61)
    assert not schedule.enqueue()
    assert queue.due(10) == [ID]


@pytest.mark.parametrize("on_failure", ["parked", "failed"])
def test_a_failed_run_does_not_stop_the_schedule(make_queue: object, clock: Clock, on_failure: str) -> None:
    queue = make_queue(on_failure=on_failure)  # type: ignore[operator]
    schedule = Schedule(queue, 30.0)
    clock.advance(31)
    assert schedule.enqueue()
    found = queue.claim(ID)
    assert found is not None
    assert queue.fail(found, Rejected("no")) == on_failure
    clock.advance(61)
    assert schedule.enqueue()
    again = queue.claim(ID)
    assert again is not None
    assert again.work.attempts == 1


def test_a_schedule_reads_the_store_only_when_a_run_may_be_due(
    queue: JobQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = Schedule(queue, 900.0)
    reads = []
    read = Schedule.due_at
    monkeypatch.setattr(Schedule, "due_at", lambda self: reads.append(1) or read(self))
    for _ in range(120):  # a minute of looks
        schedule.enqueue()
        clock.advance(0.5)
    assert len(reads) == 1
