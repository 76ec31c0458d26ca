"""`updated` and histories: who polls misses nothing, though commits do not wait for one another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from pymongo.database import Database

from fhirstore.model.stored import Change
from fhirstore.store.mongo import MongoStore, clock, write
from fhirstore.store.mongo.clock import SHARD_IDS, STEP

MakeStore = Callable[..., MongoStore]


def put(id: str, replaces: int | None = None) -> Change:
    return Change("Thing", id, replaces, "PUT")


def test_a_history_waits_for_the_commits_under_way(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One commit has its moment but is not done; a later one is. Who read now would see the later one only."""
    store, reader = make_store(), make_store()
    store.commit([put("z")])
    begun, go_on, take_locks = threading.Event(), threading.Event(), write.take_locks

    def held(*args: object) -> None:
        if threading.current_thread() is slow:
            begun.set()
            assert go_on.wait(30)
        take_locks(*args)  # type: ignore[arg-type]

    fencing, timeout = threading.Event(), clock.timeout

    def at_the_fence(seconds: float) -> AbstractContextManager[object]:
        fencing.set()
        return timeout(seconds)

    monkeypatch.setattr(write, "take_locks", held)
    monkeypatch.setattr(clock, "timeout", at_the_fence)
    slow = threading.Thread(target=lambda: store.commit([put("early")]))
    slow.start()
    assert begun.wait(30)
    store.commit([put("late")])
    seen: list[list[str]] = []
    poll = threading.Thread(target=lambda: seen.append([one.id for one in reader.history("Thing").entries]))
    poll.start()
    assert fencing.wait(30)
    assert seen == []
    go_on.set()
    slow.join()
    poll.join()

    assert sorted(seen[0]) == ["early", "late", "z"]


def test_behind_a_fence_all_commits_are_later(make_store: MakeStore) -> None:
    store, other = make_store(), make_store()
    store.commit([put("z")])
    session = store._connections.session(10)

    for n in range(40):
        moment = clock.barrier(session)
        [stored] = (store if n % 2 else other).commit([put(f"a{n}")])
        assert stored.updated > moment
        assert clock.barrier(session) >= stored.updated


def test_a_version_is_later_than_the_one_it_replaces_whatever_the_clock_says(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead, behind = make_store(), make_store()
    monkeypatch.setattr(clock, "now", lambda: 4_000_000_000_000_000)
    [first] = ahead.commit([put("a")])
    monkeypatch.setattr(clock, "now", lambda: 3_000_000_000_000_000)
    [second] = behind.commit([put("a", 1)])
    [gone] = behind.commit([Change("Thing", "a", 2, "DELETE", deleted=True)])
    [again] = behind.commit([put("a", 3)])

    times = [first.updated, second.updated, gone.updated, again.updated]
    assert times == [4_000_000_000_000_000 + n * STEP for n in range(4)]
    assert [entry.version for entry in behind.history("Thing").entries] == [4, 3, 2, 1]


def test_time_does_not_go_back_with_the_clock_of_a_process(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    monkeypatch.setattr(clock, "now", lambda: 4_000_000_000_000_000)
    store.commit([put("a")])
    monkeypatch.setattr(clock, "now", lambda: 3_000_000_000_000_000)

    assert [store.commit([put(f"b{n}")])[0].updated for n in range(5)] == [4_000_000_000_000_000] * 5


def test_a_hand_that_a_dead_process_left_open_holds_up_no_commit(
    make_store: MakeStore, db: Database[dict[str, object]]
) -> None:
    """MongoDB ends what a dead client left open after transactionLifetimeLimitSeconds, 60 by default."""
    store = make_store()
    store.commit([put("z")])
    with db.client.start_session() as dead:
        dead.start_transaction()
        db["keys"].update_one({"_id": SHARD_IDS[0]}, {"$max": {"updated": 5}}, session=dead)

        for n in range(60):
            store.commit([put(f"a{n}")])

        dead.abort_transaction()
    assert len(store.history("Thing").entries) == 61
