"""Jobs that a command runs itself: one process at a time, the others wait for it."""

from __future__ import annotations

from typing import Any

import pytest
from jobs_support import claimed, is_empty, job
from support.clock import Clock

from fhirstore.jobs import inline
from fhirstore.jobs.inline import acquire, holding
from fhirstore.jobs.model import Done, Job, Retry
from fhirstore.jobs.queue import JobQueue


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "_WAIT_S", 0.0)


def test_an_idle_job_is_enqueued_and_claimed(queue: JobQueue) -> None:
    run = acquire(queue, "a", {"n": 1})
    assert run is not None
    with holding(run):
        assert run.payload == {"n": 1}
        run.store(Done(7))
    assert (job(queue, "a").state, job(queue, "a").result, is_empty(queue)) == ("done", 7, True)


def test_a_process_that_runs_the_job_is_waited_for(queue: JobQueue) -> None:
    queue.submit("a")
    other = claimed(queue, "a")
    seen: list[Job] = []

    def waiting(found: Job) -> None:
        seen.append(found)
        if len(seen) == 3:
            assert queue.complete(other, 7)

    assert acquire(queue, "a", waiting=waiting) is None
    assert {one.state for one in seen} == {"running"}
    assert job(queue, "a").result == 7


def test_the_job_of_a_killed_process_is_taken_over_with_its_checkpoint(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    queue.renew(claimed(queue, "a"), None, {"after": "x"})

    def waiting(_: Job) -> None:
        clock.advance(30)

    run = acquire(queue, "a", waiting=waiting)
    assert run is not None
    assert run.state == {"after": "x"}


def test_a_job_that_waits_for_its_next_attempt_is_tried_now(queue: JobQueue) -> None:
    queue.submit("a")
    queue.fail(claimed(queue, "a"), Retry("busy"), checkpoint={"after": "x"})
    run = acquire(queue, "a")
    assert run is not None
    assert run.state == {"after": "x"}


def test_patience_ends(queue: JobQueue) -> None:
    queue.submit("a")
    claimed(queue, "a")
    assert acquire(queue, "a", patience_s=0) is None
    assert job(queue, "a").items == 1


@pytest.mark.parametrize(("problem", "state"), [(ValueError, "waiting"), (KeyboardInterrupt, "parked")])
def test_a_job_that_raises_is_given_back_unless_the_user_interrupts_it(
    queue: JobQueue, problem: Any, state: str
) -> None:
    run = acquire(queue, "a")
    assert run is not None
    with pytest.raises(problem), holding(run):
        raise problem
    assert job(queue, "a").state == state
