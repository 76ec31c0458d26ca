"""What operators do with jobs, how results expire, and names of keys and queues."""

from __future__ import annotations

from typing import Any

import pytest
from jobs_support import NAMES, claim, claimed, due, is_empty, job
from support.clock import Clock

from fhirstore.jobs import control, records
from fhirstore.jobs import queue as queue_module
from fhirstore.jobs.model import PENDING_STATES, Rejected
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.summary import list_jobs, summarize
from fhirstore.store.protocol import Store

NO = Rejected("422: no", {"status": 422})


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


def test_keys_with_a_common_prefix_are_distinguished(queue: JobQueue) -> None:
    for key in ("a", "a-", "a.", "aa", "A", "a0"):
        queue.submit(key)
    assert queue.complete(claimed(queue, "a"))
    assert sorted(one.key for one in list_jobs(queue.store, "test")) == sorted(("a-", "a.", "aa", "A", "a0"))
    assert claimed(queue, "a-").item.key == "a-"
    assert claim(queue, "a-") is None


def test_queues_with_a_common_prefix_are_distinguished(make_queue: Any, store: Store) -> None:
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
