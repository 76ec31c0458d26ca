"""Queues on both engines: who runs a job, in which order, and what becomes of it."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from jobs_support import claim, claimed, due, is_empty, job
from support.clock import Clock

from fhirstore.jobs import control, records
from fhirstore.jobs.model import Progress, Rejected, Retry, RetryPolicy
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.summary import summarize
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store

BUSY = Retry("503: busy", {"status": 503})
NO = Rejected("422: no", {"status": 422})


def test_a_new_job_is_queued_and_due(queue: JobQueue) -> None:
    queue.submit("b", {"n": 1})
    queue.submit("a", {"n": 2})
    assert due(queue) == ["b", "a"]
    found = job(queue, "a")
    assert (found.state, found.key, found.payload, found.seq, found.items) == ("queued", "a", {"n": 2}, 1, 1)


def test_a_job_exists_only_if_its_commit_does(queue: JobQueue, store: Store) -> None:
    made = list(queue.enqueue({"a": 1, "b": 2}))
    assert due(queue) == []
    store.commit(
        [], [one for one in made if isinstance(one, RecordGuard)], [one for one in made if isinstance(one, Record)]
    )
    assert sorted(due(queue)) == ["a", "b"]


def test_two_commits_never_have_one_number(queue: JobQueue, store: Store) -> None:
    made = list(queue.enqueue({"a": 1}))
    queue.submit("a", 2)
    with pytest.raises(GuardChanged):
        store.commit([], [g for g in made if isinstance(g, RecordGuard)], [r for r in made if isinstance(r, Record)])


def test_many_threads_that_enqueue_one_key_lose_nothing(each: JobQueue) -> None:
    threads = [threading.Thread(target=each.submit, args=("a", n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delivered = []
    while found := claim(each, "a"):
        delivered.append(found.item.payload)
        assert each.complete(found)
    assert sorted(delivered) == list(range(8))
    assert is_empty(each)


def test_of_two_workers_one_gets_the_claim(queue: JobQueue) -> None:
    queue.submit("a")
    assert claimed(queue, "a").is_first_attempt
    assert claim(queue, "a") is None
    assert (job(queue, "a").state, due(queue)) == ("running", [])
    assert job(queue, "a").owner.count("/") == 2


def test_of_many_workers_at_once_one_gets_the_claim(queue: JobQueue) -> None:
    queue.submit("a")
    barrier, found = threading.Barrier(8), []

    def compete() -> None:
        barrier.wait()
        found.append(claim(queue, "a"))

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in found if one is not None]) == 1


def test_a_delivered_item_leaves_the_queue_and_its_result_stays(queue: JobQueue) -> None:
    queue.submit("a", {"n": 1})
    assert queue.complete(claimed(queue, "a"), {"status": 201})
    assert is_empty(queue)
    found = job(queue, "a")
    assert (found.state, found.result, found.payload, found.attempts) == ("done", {"status": 201}, {"n": 1}, 1)


def test_the_last_result_of_a_key_goes_with_the_next_claim(queue: JobQueue) -> None:
    queue.submit("a", 1)
    first = claimed(queue, "a")
    assert first.last is None
    assert queue.complete(first, {"etag": "7"})
    queue.submit("a", 2)
    again = claimed(queue, "a")
    assert again.last is not None
    assert again.last.result == {"etag": "7"}
    assert queue.fail(again, Retry("no answer")) == "waiting"
    queue.clock.advance(100)  # type: ignore[attr-defined]
    assert claimed(queue, "a").last is not None


# --- the latest item ------------------------------------------------------------------------------


def test_the_latest_item_alone_is_delivered(queue: JobQueue) -> None:
    for n in (1, 2, 3):
        queue.submit("a", n)
    last = claimed(queue, "a")
    assert (last.item.payload, last.oldest.payload, last.seq, last.oldest_seq) == (3, 1, 3, 1)
    assert queue.complete(last)
    assert is_empty(queue)


def test_an_item_that_comes_during_a_run_is_delivered_next(queue: JobQueue) -> None:
    queue.submit("a", 1)
    first = claimed(queue, "a")
    queue.submit("a", 2)
    assert due(queue) == ["a"]
    assert claim(queue, "a") is None
    assert queue.complete(first)
    assert due(queue) == ["a"]
    again = claimed(queue, "a")
    assert (again.item.payload, again.oldest_seq) == (2, 2)


def test_an_item_that_another_worker_has_delivered_is_not_delivered_again(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look at the items and our claim another worker delivers them."""
    queue.submit("a")
    look = records.items_of

    def overtaken(*given: Any) -> Any:
        found = look(*given)
        monkeypatch.setattr(records, "items_of", look)
        assert queue.complete(claimed(queue, "a"))
        return found

    monkeypatch.setattr(records, "items_of", overtaken)
    assert claim(queue, "a") is None
    assert is_empty(queue)


def test_a_new_item_of_a_waiting_job_waits_with_it(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a", 1)
    assert queue.fail(claimed(queue, "a"), BUSY) == "waiting"
    queue.submit("a", 2)
    assert due(queue) == ["a"]
    assert claim(queue, "a") is None  # and it is not looked at again before its time
    assert due(queue) == []
    clock.advance(100)
    assert due(queue) == ["a"]
    assert (job(queue, "a").payload, summarize(queue.store, "test", 0, clock()).counts["waiting"]) == (2, 1)


def test_a_new_item_does_not_wait_behind_a_claim_that_another_worker_takes_meanwhile(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit("a", 1)
    queue.fail(claimed(queue, "a"), BUSY)
    queue.submit("a", 2)
    look, taken = records.items_of, []

    def overtaken(*given: Any) -> Any:
        found = look(*given)
        monkeypatch.setattr(records, "items_of", look)
        assert control.replay(queue, job_id("a"))
        taken.append(claimed(queue, "a"))
        queue.submit("a", 3)
        return found

    monkeypatch.setattr(records, "items_of", overtaken)
    assert claim(queue, "a") is None
    assert queue.complete(taken[0])
    assert due(queue) == ["a"]
    assert claimed(queue, "a").item.payload == 3


def test_a_parked_job_stays_until_a_new_item_comes(queue: JobQueue) -> None:
    queue.submit("a", 1)
    assert queue.fail(claimed(queue, "a"), NO) == "parked"
    assert (job(queue, "a").state, due(queue)) == ("parked", [])
    assert claim(queue, "a") is None
    queue.submit("a", 2)
    assert due(queue) == ["a"]
    assert claimed(queue, "a").work.attempts == 1


# --- each item ------------------------------------------------------------------------------------


def test_every_item_of_a_key_is_delivered_in_order(each: JobQueue) -> None:
    for n in range(5):
        each.submit("a", n)
    each.submit("b", 9)
    delivered = []
    while due(each):
        for key in due(each):
            found = claimed(each, key)
            assert claim(each, key) is None
            delivered.append((key, found.item.payload))
            assert each.complete(found)
    assert [n for key, n in delivered if key == "a"] == [0, 1, 2, 3, 4]
    assert delivered[1] == ("b", 9)  # a long job does not hold up others
    assert is_empty(each)


def test_a_failed_item_holds_up_those_behind_it(each: JobQueue, clock: Clock) -> None:
    each.submit("a", 1)
    each.submit("a", 2)
    assert each.fail(claimed(each, "a"), BUSY) == "waiting"
    each.submit("a", 3)
    assert claim(each, "a") is None
    assert due(each) == []
    clock.advance(100)
    for n in (1, 2, 3):
        found = claimed(each, "a")
        assert (found.item.payload, found.work.attempts) == (n, 2 if n == 1 else 1)
        assert each.complete(found)
    assert is_empty(each)


def test_a_parked_item_holds_up_those_behind_it_until_somebody_decides(each: JobQueue) -> None:
    for n in (1, 2):
        each.submit("a", n)
    assert each.fail(claimed(each, "a"), NO) == "parked"
    each.submit("a", 3)
    assert claim(each, "a") is None
    assert (due(each), job(each, "a").state, job(each, "a").payload, job(each, "a").items) == ([], "parked", 1, 3)
    assert summarize(each.store, "each").counts["parked"] == 1
    assert control.discard(each, job_id("a"))
    assert due(each) == ["a"]
    assert claimed(each, "a").item.payload == 2


def test_a_parked_item_that_is_replayed_is_delivered_first(each: JobQueue) -> None:
    for n in (1, 2):
        each.submit("a", n)
    each.fail(claimed(each, "a"), NO)
    assert control.replay(each, job_id("a"))
    found = claimed(each, "a")
    assert (found.item.payload, found.work.attempts, found.is_first_attempt) == (1, 1, False)
    assert each.complete(found)
    assert claimed(each, "a").item.payload == 2


# --- leases ---------------------------------------------------------------------------------------


def test_the_lease_of_a_killed_worker_expires_and_its_outcome_does_not_count(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    dead = claimed(queue, "a")
    clock.advance(61)
    assert (due(queue), job(queue, "a").state) == (["a"], "waiting")
    alive = claimed(queue, "a")
    assert (alive.is_first_attempt, alive.work.attempts) == (False, 2)  # the dead one may have had an effect
    assert not queue.complete(dead)
    assert queue.fail(dead, BUSY) is None
    assert queue.renew(dead) is None
    assert not queue.release(dead)
    assert job(queue, "a").state == "running"


def test_a_renewed_lease_lasts_and_stores_the_progress(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    first = claimed(queue, "a")
    clock.advance(50)
    second = queue.renew(first, Progress(3, 10, "pages"), {"after": "x"})
    assert second is not None
    clock.advance(50)
    assert (due(queue), job(queue, "a").progress) == ([], Progress(3, 10, "pages"))
    assert not queue.complete(first)  # a claim is used once
    assert queue.complete(second)
    assert is_empty(queue)


def test_a_later_run_continues_from_the_checkpoint_of_a_killed_worker(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    assert queue.renew(claimed(queue, "a"), Progress(3), {"after": "x"}) is not None
    clock.advance(61)
    again = claimed(queue, "a")
    assert (again.work.checkpoint, again.work.progress, again.work.attempts) == ({"after": "x"}, Progress(3), 2)


def test_a_checkpoint_belongs_to_its_item(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a", 1)
    queue.renew(claimed(queue, "a"), Progress(3), {"after": "x"})
    queue.submit("a", 2)
    clock.advance(61)
    again = claimed(queue, "a")
    assert (again.item.payload, again.work.checkpoint, again.work.progress) == (2, None, None)


def test_a_released_job_is_continued_at_once(queue: JobQueue) -> None:
    queue.submit("a")
    assert queue.release(claimed(queue, "a"), Progress(3), {"after": "x"})
    assert due(queue) == ["a"]
    again = claimed(queue, "a")
    assert (again.work.checkpoint, again.work.attempts) == ({"after": "x"}, 1)


# --- failures -------------------------------------------------------------------------------------


def test_a_failed_job_waits_for_its_next_attempt(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    assert queue.fail(claimed(queue, "a"), BUSY) == "waiting"
    found = job(queue, "a")
    assert (found.state, found.outcome, found.error, found.attempts) == ("waiting", {"status": 503}, "503: busy", 1)
    assert found.next == pytest.approx(clock.now + 100, abs=1)
    assert (due(queue), claim(queue, "a")) == ([], None)
    clock.advance(100)
    assert due(queue) == ["a"]
    again = claimed(queue, "a")
    assert (again.is_first_attempt, again.work.attempts) == (False, 2)


def test_a_handler_may_ask_for_a_longer_pause(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    queue.fail(claimed(queue, "a"), Retry("429", wait_s=500.0))
    assert job(queue, "a").next == pytest.approx(clock.now + 500, abs=1)
    clock.advance(500)
    queue.fail(claimed(queue, "a"), Retry("429", wait_s=5.0))
    assert job(queue, "a").next == pytest.approx(clock.now + 100, abs=1)


def test_a_job_that_fails_for_too_long_is_parked(queue: JobQueue, clock: Clock) -> None:
    queue.submit("a")
    states = []
    while not states or states[-1] == "waiting":
        states.append(queue.fail(claimed(queue, "a"), BUSY))
        clock.advance(100.1)
    assert states == ["waiting"] * 10 + ["parked"]


def test_a_queue_may_end_failed_jobs_with_their_error_as_the_result(make_queue: Any) -> None:
    queue = make_queue("runs", on_failure="failed")
    queue.submit("a", 1)
    assert queue.fail(claimed(queue, "a"), NO) == "failed"
    assert is_empty(queue)
    found = job(queue, "a")
    assert (found.state, found.error, found.outcome, found.payload) == ("failed", "422: no", {"status": 422}, 1)


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (5000, 300)])
def test_pauses_double_up_to_the_longest(attempts: int, seconds: float) -> None:
    assert RetryPolicy().pause_s(attempts, 1.0) == seconds


@pytest.mark.parametrize("attempts", [1, 4, 40, 10_000])
def test_pauses_stay_within_the_jitter(attempts: int) -> None:
    policy, dice = RetryPolicy(2.0, 50.0, 0.25), random.Random(7)
    longest = policy.pause_s(attempts, 1.0)
    found = [policy.pause_s(attempts, dice.random()) for _ in range(200)]
    assert min(found) >= longest * 0.75
    assert max(found) <= longest <= 50.0
    assert len(set(found)) > 100
