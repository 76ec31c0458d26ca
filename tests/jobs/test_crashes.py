"""Jobs whose runs end their process are given up, on both engines; `test_worker.py` kills real processes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jobs_support import claim, claimed, job
from support.clock import Clock

from fhirstore.jobs import control
from fhirstore.jobs.model import Retry
from fhirstore.jobs.queue import JobQueue, job_id

MakeQueue = Callable[..., JobQueue]
BUSY = Retry("503: busy", {"status": 503})


@pytest.mark.parametrize("on_failure", ["parked", "failed"])
def test_a_job_whose_process_ends_during_each_run_is_given_up(
    make_queue: MakeQueue, clock: Clock, on_failure: str
) -> None:
    queue = make_queue(max_crashes=3, on_failure=on_failure)
    queue.submit("a")
    for _ in range(3):
        assert claim(queue, "a") is not None
        clock.advance(61)
    assert claim(queue, "a") is None
    found = job(queue, "a")
    assert (found.state, found.attempts) == (on_failure, 3)
    assert "ended 3 times" in found.error


def test_a_given_up_job_runs_again_when_it_is_replayed(make_queue: MakeQueue, clock: Clock) -> None:
    queue = make_queue(max_crashes=1)
    queue.submit("a")
    claimed(queue, "a")
    clock.advance(61)
    assert (claim(queue, "a"), job(queue, "a").state) == (None, "parked")
    assert control.replay(queue, job_id("a"))
    assert claimed(queue, "a").work.crashes == 0


@pytest.mark.parametrize("between", ["checkpoint", "failure", "release", "item"])
def test_only_runs_in_a_row_without_any_progress_count(make_queue: MakeQueue, clock: Clock, between: str) -> None:
    queue = make_queue(max_crashes=2)
    queue.submit("a")
    for n in range(4):
        found = claimed(queue, "a")
        if between == "checkpoint":
            assert queue.renew(found, None, {"after": n}) is not None
        elif between == "failure" and n % 2:
            assert queue.fail(found, BUSY) == "waiting"
            clock.advance(100)
        elif between == "release" and n % 2:
            assert queue.release(found)
        elif between == "item":
            queue.submit("a", n)
        clock.advance(61)
    assert claim(queue, "a") is not None
