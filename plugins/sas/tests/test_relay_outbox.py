"""The records of the outbox on both engines: who may send what, and what becomes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bookings import sas_appointment
from support.mongo import Mongo

from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.base import Schema, Store
from fhirstore_sas.relay import outbox
from fhirstore_sas.relay.message import message_of
from fhirstore_sas.relay.outbox import Item


@pytest.fixture(params=["sqlite", "replica"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    mongo: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue("replica")
    made = open_store(f"sqlite:///{tmp_path / 'o.db'}" if mongo is None else mongo.url(tmp_path), Settings())
    made.open(Schema({}))
    yield made
    made.close()
    if mongo is not None:
        mongo.drop(tmp_path)


def tell(store: Store, id: str, version: int, status: str = "booked", at: float | None = None) -> None:
    message = message_of(sas_appointment(id, status=status))
    store.commit([], records=[outbox.row(id, version, message, version == 1, at)])


def one(store: Store, id: str) -> Item:
    return next(i for i in outbox.items(store) if i.id == id)


def held(store: Store, id: str, seconds: float = 60) -> outbox.Lease:
    found = outbox.lease(store, id, seconds)
    assert found is not None
    return found


def test_a_new_row_waits_and_is_due(store: Store) -> None:
    tell(store, "b", 1, at=2.0)
    tell(store, "a", 1, at=3.0)
    assert outbox.due(store, time.time()) == ["b", "a"]
    assert (one(store, "a").state, one(store, "a").identifier) == ("waiting", "urn:oid:1.2.3.4|a")


def test_of_two_workers_one_gets_the_lease(store: Store) -> None:
    tell(store, "a", 1)
    assert held(store, "a").is_first
    assert outbox.lease(store, "a", 60) is None
    assert (one(store, "a").state, outbox.due(store, time.time())) == ("sending", [])


def test_of_many_workers_at_once_one_gets_the_lease(store: Store) -> None:
    tell(store, "a", 1)
    barrier, found = threading.Barrier(8), []

    def compete() -> None:
        barrier.wait()
        found.append(outbox.lease(store, "a", 60))

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in found if lease is not None]) == 1


def test_what_is_sent_leaves_the_outbox(store: Store) -> None:
    tell(store, "a", 1)
    assert outbox.sent(store, held(store, "a"), 201, "https://p.example/Appointment/9")
    assert outbox.is_empty(store)
    assert store.records(outbox.WORK) == []
    item = one(store, "a")
    assert (item.state, item.status, item.location) == ("sent", 201, "https://p.example/Appointment/9")


def test_the_latest_version_alone_is_sent(store: Store) -> None:
    for version, status in ((1, "booked"), (2, "arrived"), (3, "cancelled")):
        tell(store, "a", version, status)
    lease = held(store, "a")
    assert (lease.version, lease.row.message["status"], lease.is_first) == (3, "cancelled", True)
    assert outbox.sent(store, lease, 201)
    assert outbox.is_empty(store)


def test_a_version_that_comes_while_another_is_sent_is_sent_next(store: Store) -> None:
    tell(store, "a", 1)
    lease = held(store, "a")
    tell(store, "a", 2, "cancelled")
    assert outbox.sent(store, lease, 201)
    again = held(store, "a")
    assert (again.version, again.is_first) == (2, False)


def test_what_another_has_sent_is_not_sent_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look at the rows and our lease another worker sends them."""
    tell(store, "a", 1)
    look = outbox._rows_of

    def overtaken(*given: object) -> object:
        found = look(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(outbox, "_rows_of", look)
        assert outbox.sent(store, held(store, "a"), 201)
        return found

    monkeypatch.setattr(outbox, "_rows_of", overtaken)
    assert outbox.lease(store, "a", 60) is None
    assert outbox.is_empty(store)


def test_a_dead_workers_lease_ends_and_its_result_counts_no_more(store: Store) -> None:
    tell(store, "a", 1)
    dead = held(store, "a", seconds=0.0)
    assert outbox.due(store, time.time()) == ["a"]
    alive = held(store, "a")
    assert (alive.is_first, alive.work.attempts) == (False, 2)  # the dead one may have sent it
    assert not outbox.sent(store, dead, 201)
    assert not outbox.failed(store, dead, 500, "x", again=0.0)
    assert one(store, "a").state == "sending"


def test_a_failure_waits_for_its_time(store: Store) -> None:
    tell(store, "a", 1)
    later = time.time() + 100
    assert outbox.failed(store, held(store, "a"), 503, "503: busy", again=later)
    item = one(store, "a")
    assert (item.state, item.status, item.error, item.attempts) == ("waiting", 503, "503: busy", 1)
    assert (outbox.due(store, time.time()), outbox.due(store, later + 1)) == ([], ["a"])
    assert outbox.lease(store, "a", 60) is None


def test_what_was_tried_is_first_no_more(store: Store) -> None:
    tell(store, "a", 1)
    outbox.failed(store, held(store, "a"), None, "cut", again=1.0)
    again = held(store, "a")
    assert (again.is_first, again.work.attempts) == (False, 2)


def test_a_parked_one_stays_until_something_new_comes(store: Store) -> None:
    tell(store, "a", 1)
    outbox.failed(store, held(store, "a"), 422, "422: no", again=None)
    assert (one(store, "a").state, outbox.due(store, time.time())) == ("parked", [])
    assert outbox.lease(store, "a", 60) is None
    tell(store, "a", 2)
    assert outbox.due(store, time.time()) == ["a"]
    assert held(store, "a").work.attempts == 1


def test_replay_tries_a_parked_one_anew(store: Store) -> None:
    tell(store, "a", 1)
    outbox.failed(store, held(store, "a"), 422, "422: no", again=None)
    assert outbox.replay(store, "a")
    again = held(store, "a")
    assert (again.is_first, again.work.attempts) == (False, 1)


def test_replay_sends_what_was_sent_once_more_as_a_change(store: Store) -> None:
    tell(store, "a", 1)
    tell(store, "a", 2, "cancelled")
    outbox.sent(store, held(store, "a"), 201)
    assert outbox.replay(store, "a")
    again = held(store, "a")
    assert (again.row.message["status"], again.is_first) == ("cancelled", False)


def test_what_is_being_sent_can_be_neither_replayed_nor_discarded(store: Store) -> None:
    tell(store, "a", 1)
    held(store, "a")
    assert not outbox.replay(store, "a")
    assert not outbox.discard(store, "a")


def test_discard_forgets_what_was_to_be_told(store: Store) -> None:
    tell(store, "a", 1)
    outbox.failed(store, held(store, "a"), 422, "422: no", again=None)
    assert outbox.discard(store, "a")
    assert outbox.items(store) == []
    assert not outbox.discard(store, "a")
    assert not outbox.replay(store, "a")


def test_what_was_sent_long_ago_is_forgotten(store: Store) -> None:
    for id in ("a", "b"):
        tell(store, id, 1)
        outbox.sent(store, held(store, id), 201)
    assert outbox.forget(store, time.time() - 10) == 0
    assert outbox.forget(store, time.time() + 10) == 2
    assert outbox.items(store) == []


def test_ids_that_begin_alike_are_told_apart(store: Store) -> None:
    for id in ("a", "a-", "a.", "aa", "A", "a0"):
        tell(store, id, 1)
    assert outbox.sent(store, held(store, "a"), 201)
    assert sorted(i.id for i in outbox.items(store, with_sent=False)) == sorted(("a-", "a.", "aa", "A", "a0"))
    assert held(store, "a-").version == 1
    assert outbox.lease(store, "a-", 60) is None


def test_more_than_a_page_of_rows_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_PAGE", 7)
    for n in range(15):
        tell(store, f"n{n:02}", 1, at=float(n))
    assert outbox.due(store, time.time()) == [f"n{n:02}" for n in range(15)]
