"""Queues on both engines: who runs a job, in which order, and what becomes of it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import pytest
from jobs_support import NAMES, claim, claimed, due, is_empty, job
from support.clock import Clock

from fhirstore.jobs import control, records
from fhirstore.jobs import queue as queue_module
from fhirstore.jobs.model import PENDING_STATES, Progress, Rejected, Retry, RetryPolicy
from fhirstore.jobs.queue import Claim, JobQueue, job_id
from fhirstore.jobs.summary import list_jobs, summarize
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


def test_a_renewed_lease_lasts_and_tells_how_far_the_run_is(queue: JobQueue, clock: Clock) -> None:
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


# --- operators ------------------------------------------------------------------------------------


def test_replay_tries_a_parked_job_as_if_it_were_new(queue: JobQueue) -> None:
    queue.submit("a")
    queue.fail(claimed(queue, "a"), NO)
    assert control.replay(queue, job_id("a"))
    again = claimed(queue, "a")
    assert (again.is_first_attempt, again.work.attempts) == (False, 1)


def test_replay_runs_a_finished_job_once_more(queue: JobQueue) -> None:
    queue.submit("a", 1)
    queue.submit("a", 2)
    queue.complete(claimed(queue, "a"))
    assert control.replay(queue, job_id("a"))
    again = claimed(queue, "a")
    assert (again.item.payload, again.is_first_attempt) == (2, False)


def test_a_running_job_can_be_neither_replayed_nor_discarded(queue: JobQueue) -> None:
    queue.submit("a")
    claimed(queue, "a")
    assert not control.replay(queue, job_id("a"))
    assert not control.discard(queue, job_id("a"))


def test_a_discarded_job_is_gone(queue: JobQueue) -> None:
    queue.submit("a", 1)
    queue.submit("a", 2)
    queue.fail(claimed(queue, "a"), NO)
    assert control.discard(queue, job_id("a"))
    assert list(list_jobs(queue.store, "test", (*PENDING_STATES, "done"))) == []
    assert not control.discard(queue, job_id("a"))
    assert not control.replay(queue, job_id("a"))


def test_an_item_that_is_delivered_during_a_replay_stays_the_last(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look at the last result and our commit, a new item comes and is delivered."""
    queue.submit("a", 1)
    queue.complete(claimed(queue, "a"))
    look = records.decode_finished

    def overtaken(value: bytes) -> object:
        monkeypatch.setattr(records, "decode_finished", look)
        queue.submit("a", 2)
        assert queue.complete(claimed(queue, "a"))
        return look(value)

    monkeypatch.setattr(records, "decode_finished", overtaken)
    assert not control.replay(queue, job_id("a"))
    assert (job(queue, "a").payload, is_empty(queue)) == (2, True)


def test_old_results_are_deleted(queue: JobQueue, clock: Clock) -> None:
    for key in ("a", "b"):
        queue.submit(key)
        queue.complete(claimed(queue, key))
    assert control.forget(queue, clock() - 10) == 0
    assert control.forget(queue, clock() + 10) == 2
    assert list(list_jobs(queue.store, "test", ("done",))) == []
    assert [one.key for one in records.scan(queue.store, records.HEAD, "test")] != []  # numbers go on


def test_a_queue_may_forget_keys_with_their_results(make_queue: Any, clock: Clock) -> None:
    queue = make_queue("exports", forget_keys=True)
    for key in ("a", "b"):
        queue.submit(key)
        queue.complete(claimed(queue, key))
    queue.submit("b")
    assert control.forget(queue, clock() + 10) == 2
    heads = [one.key.partition(" ")[2] for one in records.scan(queue.store, records.HEAD, "exports")]
    assert [NAMES[id] for id in heads] == ["b"]


# --- keys and names -------------------------------------------------------------------------------


def test_keys_that_begin_alike_are_told_apart(queue: JobQueue) -> None:
    for key in ("a", "a-", "a.", "aa", "A", "a0"):
        queue.submit(key)
    assert queue.complete(claimed(queue, "a"))
    assert sorted(one.key for one in list_jobs(queue.store, "test")) == sorted(("a-", "a.", "aa", "A", "a0"))
    assert claimed(queue, "a-").item.key == "a-"
    assert claim(queue, "a-") is None


def test_queues_whose_names_begin_alike_are_told_apart(make_queue: Any, store: Store) -> None:
    queues = [make_queue(name) for name in ("a", "a-b", "ab", "b")]
    for one in queues:
        one.submit("a", one.name)
    assert [[claimed(one, key).item.payload for key in due(one)] for one in queues] == [["a"], ["a-b"], ["ab"], ["b"]]
    assert records.queue_names(store) == ["a", "a-b", "ab", "b"]


@pytest.mark.parametrize("name", ["", "A", "a b", "a|b", "é", "-a"])
def test_other_names_of_queues_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="The name of a queue"):
        JobQueue(None, name)  # type: ignore[arg-type]


def test_any_text_is_a_key(queue: JobQueue) -> None:
    for key in ("", " ", "é|ü\n", "x" * 5000):
        queue.submit(key, key == "")
        assert queue.claim(job_id(key)) is not None


def test_more_than_a_page_of_jobs_is_read(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "_LOOK", 7)
    monkeypatch.setattr(records, "PAGE", 7)
    for n in range(15):
        queue.submit(f"n{n:02}")
    assert due(queue) == [f"n{n:02}" for n in range(15)]
    assert queue.due(4) == [job_id(f"n{n:02}") for n in range(4)]
    busy = [job_id(f"n{n:02}") for n in range(10)]
    assert queue.due(2, busy) == [job_id("n10"), job_id("n11")]
    assert summarize(queue.store, "test").counts == {"queued": 15, "waiting": 0, "running": 0, "parked": 0}


# --- at random ------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", ["latest", "each"])
def test_whatever_happens_nothing_is_forgotten(make_queue: Any, clock: Clock, delivery: str) -> None:
    """Each key with items has an entry, no entry exists without items, counts agree with lists, and all items can be
    delivered: with "each", all in order."""
    queue: JobQueue = make_queue(delivery=delivery)
    dice = random.Random(20261126)
    keys = ("a", "b", "a-")
    last = dict.fromkeys(keys, 0)
    expected: dict[str, list[int]] = {key: [] for key in keys}
    delivered: dict[str, list[int]] = {key: [] for key in keys}
    claims: list[Claim] = []

    def deliver(held: Claim) -> None:
        if queue.complete(held):
            delivered[held.item.key].append(held.item.payload)

    for _ in range(250):
        key = dice.choice(keys)
        clock.advance(dice.choice((0.0, 0.0, 50.0)))
        match dice.choice(
            ("submit", "submit", "claim", "claim", "done", "fail", "park", "release", "replay", "discard")
        ):
            case "submit":
                last[key] += 1
                expected[key].append(last[key])
                queue.submit(key, last[key])
            case "claim":
                claims += [found] if (found := claim(queue, key)) else []
            case "replay":
                control.replay(queue, job_id(key))
            case "discard":
                before = [
                    records.decode_item(one.value).payload for one in records.items_of(queue.store, "test", job_id(key))
                ]
                if control.discard(queue, job_id(key)):
                    gone = before if delivery == "latest" else before[:1]
                    expected[key] = [n for n in expected[key] if n not in gone]
            case what if claims:
                held = claims.pop(dice.randrange(len(claims)))
                match what:
                    case "done":
                        deliver(held)
                    case "release":
                        queue.release(held)
                    case _:
                        queue.fail(held, NO if what == "park" else BUSY)
        _check_entries(queue)
    for key in keys:
        clock.advance(100)
        control.replay(queue, job_id(key))
        while found := claim(queue, key):
            deliver(found)
    assert is_empty(queue)
    for key in keys:
        if delivery == "each":  # a replayed result is delivered twice
            first_times = list(dict.fromkeys(delivered[key]))
            assert first_times == sorted(first_times)
            assert set(expected[key]) <= set(first_times)
        elif expected[key]:
            assert (job(queue, key).state, job(queue, key).payload) == ("done", expected[key][-1])


def _check_entries(queue: JobQueue) -> None:
    now = queue.clock()
    with_items = {one.key.split(" ")[1] for one in records.scan(queue.store, records.ITEM, queue.name)}
    kinds = (records.DUE, records.PARKED)
    entries = {records.job_of(one.key) for kind in kinds for one in records.scan(queue.store, kind, queue.name)}
    assert entries == with_items
    summary = summarize(queue.store, queue.name, 1000, now)
    assert sum(summary.counts.values()) == len(with_items)
    states = Counter(job(queue, NAMES[id]).state for id in with_items)
    assert states == Counter({state: n for state, n in summary.counts.items() if n})
