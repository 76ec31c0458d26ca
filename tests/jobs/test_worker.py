"""Workers: handlers run under a lease that is renewed; killed ones are resumed by others."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jobs_support import claimed, job
from support.clock import Clock

from fhirstore.jobs import stats
from fhirstore.jobs.breaker import CircuitBreaker
from fhirstore.jobs.handler import JobHandler, run_job
from fhirstore.jobs.model import Done, Outcome, Progress, QueueOptions, Rejected, Retry
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.run import JobInterrupted, JobRun
from fhirstore.jobs.runner import Runner
from fhirstore.jobs.summary import find_job
from fhirstore.store.protocol import Store

WORKER = Path(__file__).with_name("worker_process.py")


def eventually(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not what():
        assert time.monotonic() < give_up, "it never came true"
        threading.Event().wait(0.01)


def handler(run: Callable[[JobRun], Outcome | None], queue: str = "test", **more: Any) -> JobHandler:
    return JobHandler(queue, run, **more)


@contextmanager
def running(store: Store, *handlers: JobHandler) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=Runner(store, handlers, stop).run)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def one_run(queue: JobQueue, run: Callable[[JobRun], Outcome | None], **more: Any) -> str | None:
    queue.submit("a", {"n": 1})
    made = JobRun(queue, claimed(queue, "a"), threading.Event())
    return run_job(handler(run, **more), made)


def test_jobs_of_several_queues_are_run_and_counted(store: Store) -> None:
    seen: list[tuple[str, Any]] = []

    def run(job: JobRun) -> Outcome:
        seen.append((job.key, job.payload))
        return Done(len(seen))

    queues = [JobQueue(store, name) for name in ("one", "two")]
    with running(store, handler(run, "one", threads=2), handler(run, "two")):
        for queue in queues:
            queue.submit("a", queue.name)
        eventually(lambda: sum(stats.total(store, one.name).done for one in queues) == 2)
    assert sorted(seen) == [("a", "one"), ("a", "two")]


def test_two_handlers_of_one_queue_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="Two handlers are declared for the queue test"):
        Runner(store, [handler(lambda run: None)] * 2, threading.Event())


def test_items_of_one_key_are_run_in_order_by_any_number_of_threads(store: Store) -> None:
    seen: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    queue = JobQueue(store, "test")
    for n in range(8):
        for key in seen:
            queue.submit(key, n)
    with running(store, handler(lambda run: seen[run.key].append(run.payload), threads=4)):
        eventually(lambda: stats.total(store, "test").done == 24)
    assert list(seen.values()) == [list(range(8))] * 3


@pytest.mark.parametrize(
    ("outcome", "state"), [(None, "done"), (Done(7), "done"), (Retry("x"), "waiting"), (Rejected("x"), "parked")]
)
def test_the_outcome_is_stored(queue: JobQueue, outcome: Outcome | None, state: str) -> None:
    assert one_run(queue, lambda run: outcome) == state
    assert job(queue, "a").state == state


def test_an_exception_is_a_failure_that_is_tried_again(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: JobRun) -> Outcome:
        raise ValueError("a fault")

    with caplog.at_level(logging.INFO):
        assert one_run(queue, broken) == "waiting"
    assert job(queue, "a").error == "ValueError: a fault"
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_run_knows_what_came_before(queue: JobQueue) -> None:
    seen: list[Any] = []

    def run(job: JobRun) -> Outcome:
        seen.append((job.is_first, job.attempts, job.last_result, job.payload, job.oldest_payload))
        return Done("sent")

    queue.submit("a", 0)
    assert one_run(queue, run) == "done"
    assert one_run(queue, run) == "done"
    assert seen == [(True, 1, None, {"n": 1}, 0), (False, 1, "sent", {"n": 1}, {"n": 1})]


def test_a_stopped_run_is_given_back_with_its_checkpoint(queue: JobQueue) -> None:
    queue.submit("a")
    stop = threading.Event()

    def run(job: JobRun) -> Outcome:
        start = job.state or 0
        for n in range(start, 10):
            if n == 4 and not start:
                stop.set()
            job.checkpoint(n, Progress(n, 10))
        return Done(job.state)

    assert run_job(handler(run), JobRun(queue, claimed(queue, "a"), stop)) is None
    assert (job(queue, "a").state, job(queue, "a").progress) == ("waiting", Progress(4, 10))
    again = JobRun(queue, claimed(queue, "a"), threading.Event())
    assert (again.state, again.attempts) == (4, 1)
    assert run_job(handler(run), again) == "done"
    assert (job(queue, "a").result, job(queue, "a").progress) == (9, Progress(9, 10))


def test_a_failed_run_keeps_its_checkpoint(queue: JobQueue, clock: Clock) -> None:
    def run(job: JobRun) -> Outcome:
        job.checkpoint({"page": 3}, Progress(3))
        return Retry("busy")

    assert one_run(queue, run) == "waiting"
    clock.advance(100)
    assert claimed(queue, "a").work.checkpoint == {"page": 3}


def test_a_long_run_keeps_its_lease(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    run = JobRun(queue, claimed(queue, "a"), threading.Event())
    for n in range(20):
        clock.advance(19)
        run.checkpoint(n, Progress(n))
        run.renew()
        assert queue.due(10) == []
    assert job(queue, "a").progress in (Progress(19), Progress(18))


def test_a_short_run_does_not_write_its_lease(queue: JobQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.submit("a")
    run = JobRun(queue, claimed(queue, "a"), threading.Event())
    monkeypatch.setattr(JobQueue, "renew", None)
    for _ in range(10):
        clock.advance(1)
        run.renew()


def test_a_run_that_has_lost_its_lease_ends(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    run = JobRun(queue, claimed(queue, "a"), threading.Event())
    clock.advance(61)
    taken = claimed(queue, "a")
    run.renew()
    with pytest.raises(JobInterrupted):
        run.checkpoint(1)
    assert not run.release()
    assert queue.complete(taken)


def test_a_pause_ends_when_the_process_stops(queue: JobQueue) -> None:
    queue.submit("a")
    stop = threading.Event()
    run = JobRun(queue, claimed(queue, "a"), stop)
    run.pause(0)
    stop.set()
    with pytest.raises(JobInterrupted):
        run.pause(3600)


def test_the_breaker_counts_missing_answers_only(queue: JobQueue, clock: Clock) -> None:
    breaker = CircuitBreaker(30.0)
    for _ in range(CircuitBreaker.FAILURES):
        one_run(queue, lambda run: Retry("no answer", unavailable=True), breaker=breaker)
        clock.advance(100)
    assert breaker.open_s() > 0
    one_run(queue, lambda run: Retry("conflict"), breaker=breaker)
    assert breaker.open_s() == 0


def test_a_periodic_job_runs_again_and_again(store: Store) -> None:
    seen: list[int] = []
    with running(store, handler(lambda run: seen.append(run.attempts), every_s=0.01)):
        eventually(lambda: len(seen) >= 2)


def test_the_handler_is_closed_at_the_end(store: Store) -> None:
    closed: list[bool] = []
    with running(store, handler(lambda run: None, close=lambda: closed.append(True))):
        assert closed == []
    assert closed == [True]


def test_a_handler_that_does_not_end_does_not_keep_the_process(store: Store) -> None:
    started, end = threading.Event(), threading.Event()

    def run(job: JobRun) -> None:
        started.set()
        end.wait(60)

    JobQueue(store, "test").submit("a")
    with running(store, handler(run)):
        assert started.wait(30)
    assert find_job(store, "test", job_id("a")).state == "running"  # type: ignore[union-attr]
    end.set()
    eventually(lambda: find_job(store, "test", job_id("a")).state == "done")  # type: ignore[union-attr]


# --- processes ------------------------------------------------------------------------------------


def process(url: str, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WORKER), url, str(log), *arguments])


def lines(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def test_two_processes_share_the_jobs_and_double_none(url: str, store: Store, tmp_path: Path) -> None:
    queue, log = JobQueue(store, "test"), tmp_path / "log"
    for n in range(6):
        for key in ("a", "b", "c", "d"):
            queue.submit(key, n)
    workers = [process(url, log, "deliver") for _ in range(2)]
    try:
        eventually(lambda: stats.total(store, "test").done == 24)
    finally:
        for one in workers:
            one.terminate()
            one.wait(30)
    seen: dict[str, list[int]] = {}
    for _, key, n in lines(log):
        seen.setdefault(key, []).append(int(n))
    assert seen == {key: list(range(6)) for key in ("a", "b", "c", "d")}


def test_a_job_that_kills_its_process_each_time_is_parked(url: str, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    JobQueue(store, "test").submit("a")
    for _ in range(2):
        died = process(url, log, "die")
        assert died.wait(60) == -signal.SIGKILL
    last = process(url, log, "die")  # finds the lease of the second one expired
    try:
        eventually(lambda: find_job(store, "test", job_id("a")).state == "parked")  # type: ignore[union-attr]
        assert last.poll() is None
    finally:
        last.terminate()
        last.wait(30)
    found = find_job(store, "test", job_id("a"))
    assert found is not None
    assert (found.attempts, found.error) == (2, "The process ended 2 times during a run of this job.")
    assert stats.total(store, "test").parked == 1
    assert len(lines(log)) == 2


def test_a_killed_run_is_resumed_by_another_worker(url: str, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    JobQueue(store, "test").submit("a", 50)
    killed = process(url, log, "count")
    try:
        eventually(lambda: (found := find_job(store, "test", job_id("a"))) is not None and found.progress is not None)
    finally:
        killed.kill()
        killed.wait(30)
    clock = Clock(time.time() + 1000)
    later = JobQueue(store, "test", QueueOptions(), clock)
    claim = claimed(later, "a")
    assert claim.work.attempts == 2
    start = claim.work.checkpoint
    assert 0 < start <= int(lines(log)[-1][2])  # it goes on where the killed one had noted its state
    run = JobRun(later, claim, threading.Event())
    assert run_job(handler(lambda run: Done([run.state, run.payload])), run) == "done"
    assert job(later, "a").result == [start, 50]
