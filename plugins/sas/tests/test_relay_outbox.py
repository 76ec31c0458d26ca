"""The records of the outbox on both engines: who may send what, and what becomes of it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bookings import sas_appointment
from support.mongo import Mongo

from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store
from fhirstore_sas.relay import listing, outbox, rows, tally
from fhirstore_sas.relay.listing import Item
from fhirstore_sas.relay.message import message_of
from fhirstore_sas.relay.outbox import Told
from fhirstore_sas.relay.tally import Count, Tally


@pytest.fixture(params=["sqlite", "replica"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    mongo: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue("replica")
    made = open_store(f"sqlite:///{tmp_path / 'o.db'}" if mongo is None else mongo.url(tmp_path), Settings())
    made.open(Schema({}))
    yield made
    made.close()
    if mongo is not None:
        mongo.drop(tmp_path)


def told(id: str, version: int = 1, status: str = "booked", **more: Any) -> Told:
    return Told(id, version, message_of(sas_appointment(id, status=status, **more)), version == 1)


def tell(store: Store, *news: Told) -> None:
    made = list(outbox.news(store, news))
    records = [one for one in made if isinstance(one, Record)]
    store.commit([], [one for one in made if isinstance(one, RecordGuard)], records)


def unit(id: str) -> str:
    return told(id).unit


def one(store: Store, id: str) -> Item:
    found = listing.item_of(store, unit(id))
    assert found is not None
    return found


def due(store: Store, now: float | None = None) -> list[str]:
    names = {unit(id): id for id in ("a", "b", "a-", "a.", "aa", "A", "a0", *(f"n{n:02}" for n in range(20)))}
    return [names[found] for found in outbox.due(store, time.time() if now is None else now, 1000)]


def lease(store: Store, id: str, seconds: float = 60) -> outbox.Lease | None:
    return outbox.lease(store, unit(id), seconds)


def held(store: Store, id: str, seconds: float = 60) -> outbox.Lease:
    found = lease(store, id, seconds)
    assert found is not None
    return found


def is_empty(store: Store) -> bool:
    """Nothing is left but what was sent, and how often there was news."""
    return not any(store.records(kind) for kind in (rows.ROWS, rows.DUE, rows.PARKED, rows.WORK))


def test_a_new_row_waits_and_is_due(store: Store) -> None:
    tell(store, told("b", 1))
    tell(store, told("a", 1))
    assert due(store) == ["b", "a"]
    assert (one(store, "a").state, one(store, "a").identifier) == ("waiting", "urn:oid:1.2.3.4|a")


def test_of_two_workers_one_gets_the_lease(store: Store) -> None:
    tell(store, told("a", 1))
    assert held(store, "a").is_first
    assert lease(store, "a", 60) is None
    assert (one(store, "a").state, due(store)) == ("sending", [])


def test_of_many_workers_at_once_one_gets_the_lease(store: Store) -> None:
    tell(store, told("a", 1))
    barrier, found = threading.Barrier(8), []

    def compete() -> None:
        barrier.wait()
        found.append(lease(store, "a", 60))

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([lease for lease in found if lease is not None]) == 1


def test_what_is_sent_leaves_the_outbox(store: Store) -> None:
    tell(store, told("a", 1))
    assert outbox.sent(store, held(store, "a"), 201, "https://p.example/Appointment/9")
    assert is_empty(store)
    item = one(store, "a")
    assert (item.state, item.status, item.location) == ("sent", 201, "https://p.example/Appointment/9")


def test_the_latest_version_alone_is_sent(store: Store) -> None:
    for version, status in ((1, "booked"), (2, "arrived"), (3, "cancelled")):
        tell(store, told("a", version, status))
    last = held(store, "a")
    assert (last.row.version, last.row.message["status"], last.is_first) == (3, "cancelled", True)
    assert outbox.sent(store, last, 201)
    assert is_empty(store)


def test_a_version_that_comes_while_another_is_sent_is_sent_next(store: Store) -> None:
    tell(store, told("a", 1))
    first = held(store, "a")
    tell(store, told("a", 2, "cancelled"))
    assert due(store) == ["a"]
    assert lease(store, "a") is None
    assert outbox.sent(store, first, 201)
    assert due(store) == ["a"]
    again = held(store, "a")
    assert (again.row.version, again.is_first) == (2, False)


def test_what_another_has_sent_is_not_sent_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look at the rows and our lease another worker sends them."""
    tell(store, told("a", 1))
    look = rows.rows_of

    def overtaken(*given: object) -> object:
        found = look(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(rows, "rows_of", look)
        assert outbox.sent(store, held(store, "a"), 201)
        return found

    monkeypatch.setattr(rows, "rows_of", overtaken)
    assert lease(store, "a", 60) is None
    assert is_empty(store)


def test_a_dead_workers_lease_ends_and_its_result_counts_no_more(store: Store) -> None:
    tell(store, told("a", 1))
    dead = held(store, "a", seconds=0.0)
    assert due(store) == ["a"]
    alive = held(store, "a")
    assert (alive.is_first, alive.work.attempts) == (False, 2)  # the dead one may have sent it
    assert not outbox.sent(store, dead, 201)
    assert not outbox.failed(store, dead, 500, "x", again=0.0)
    assert one(store, "a").state == "sending"


def test_a_failure_waits_for_its_time(store: Store) -> None:
    tell(store, told("a", 1))
    later = time.time() + 100
    assert outbox.failed(store, held(store, "a"), 503, "503: busy", again=later)
    item = one(store, "a")
    assert (item.state, item.status, item.error, item.attempts) == ("waiting", 503, "503: busy", 1)
    assert (due(store), due(store, later + 1)) == ([], ["a"])
    assert lease(store, "a", 60) is None


def test_what_was_tried_is_first_no_more(store: Store) -> None:
    tell(store, told("a", 1))
    outbox.failed(store, held(store, "a"), None, "cut", again=1.0)
    again = held(store, "a")
    assert (again.is_first, again.work.attempts) == (False, 2)


def test_a_parked_one_stays_until_something_new_comes(store: Store) -> None:
    tell(store, told("a", 1))
    outbox.failed(store, held(store, "a"), 422, "422: no", again=None)
    assert (one(store, "a").state, due(store)) == ("parked", [])
    assert lease(store, "a", 60) is None
    tell(store, told("a", 2))
    assert due(store) == ["a"]
    assert held(store, "a").work.attempts == 1


def test_replay_tries_a_parked_one_anew(store: Store) -> None:
    tell(store, told("a", 1))
    outbox.failed(store, held(store, "a"), 422, "422: no", again=None)
    assert outbox.replay(store, unit("a"))
    again = held(store, "a")
    assert (again.is_first, again.work.attempts) == (False, 1)


def test_replay_sends_what_was_sent_once_more_as_a_change(store: Store) -> None:
    tell(store, told("a", 1))
    tell(store, told("a", 2, "cancelled"))
    outbox.sent(store, held(store, "a"), 201)
    assert outbox.replay(store, unit("a"))
    again = held(store, "a")
    assert (again.row.message["status"], again.is_first) == ("cancelled", False)


def test_what_is_being_sent_can_be_neither_replayed_nor_discarded(store: Store) -> None:
    tell(store, told("a", 1))
    held(store, "a")
    assert not outbox.replay(store, unit("a"))
    assert not outbox.discard(store, unit("a"))


def test_discard_forgets_what_was_to_be_told(store: Store) -> None:
    tell(store, told("a", 1))
    outbox.failed(store, held(store, "a"), 422, "422: no", again=None)
    assert outbox.discard(store, unit("a"))
    assert list(listing.items(store, listing.STATES)) == []
    assert not outbox.discard(store, unit("a"))
    assert not outbox.replay(store, unit("a"))


def test_what_was_sent_long_ago_is_forgotten(store: Store) -> None:
    for id in ("a", "b"):
        tell(store, told(id, 1))
        outbox.sent(store, held(store, id), 201)
    assert outbox.forget(store, time.time() - 10) == 0
    assert outbox.forget(store, time.time() + 10) == 2
    assert list(listing.items(store, listing.STATES)) == []


def test_ids_that_begin_alike_are_told_apart(store: Store) -> None:
    for id in ("a", "a-", "a.", "aa", "A", "a0"):
        tell(store, told(id, 1))
    assert outbox.sent(store, held(store, "a"), 201)
    assert sorted(i.id for i in listing.items(store)) == sorted(("a-", "a.", "aa", "A", "a0"))
    assert held(store, "a-").row.version == 1
    assert lease(store, "a-", 60) is None


def test_more_than_a_page_of_rows_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_LOOK", 7)
    monkeypatch.setattr(rows, "PAGE", 7)
    for n in range(15):
        tell(store, told(f"n{n:02}"))
    assert due(store) == [f"n{n:02}" for n in range(15)]
    assert outbox.due(store, time.time(), 4) == [unit(f"n{n:02}") for n in range(4)]
    busy = [unit(f"n{n:02}") for n in range(10)]
    assert outbox.due(store, time.time(), 2, busy) == [unit("n10"), unit("n11")]
    assert listing.survey(store).counts == {"waiting": 15, "sending": 0, "parked": 0}


def test_news_of_what_waits_for_its_next_attempt_waits_with_it(store: Store) -> None:
    tell(store, told("a", 1))
    later = time.time() + 100
    outbox.failed(store, held(store, "a"), 503, "503: busy", again=later)
    tell(store, told("a", 2))
    assert due(store) == ["a"]
    assert lease(store, "a") is None  # and it is not looked at again before its time
    assert (due(store), due(store, later + 1)) == ([], ["a"])
    assert (one(store, "a").version, listing.survey(store).counts["waiting"]) == (2, 1)


def test_news_is_not_put_off_behind_a_lease_that_another_takes_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(store, told("a", 1))
    outbox.failed(store, held(store, "a"), 503, "503: busy", again=time.time() + 100)
    tell(store, told("a", 2))
    look, taken = rows.rows_of, []

    def overtaken(*given: object) -> object:
        found = look(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(rows, "rows_of", look)
        assert outbox.replay(store, unit("a"))
        taken.append(held(store, "a"))
        tell(store, told("a", 3))
        return found

    monkeypatch.setattr(rows, "rows_of", overtaken)
    assert lease(store, "a") is None
    assert outbox.sent(store, taken[0], 200)
    assert due(store) == ["a"]
    assert held(store, "a").row.version == 3


def test_what_another_appointment_is_told_under_one_identifier_comes_after_the_first(store: Store) -> None:
    """The first is deleted, another made with its identifier, while the platform is away."""
    tell(store, told("a", 1))
    outbox.sent(store, held(store, "a"), 201)
    tell(store, told("a", 2, "cancelled"))
    tell(store, Told("another", 1, told("a").message, True))
    last = held(store, "a")
    assert (last.row.appointment, last.row.message["status"], last.is_first) == ("another", "booked", False)
    assert outbox.sent(store, last, 200)
    assert is_empty(store)


def test_two_commits_never_have_one_place(store: Store) -> None:
    made = list(outbox.news(store, [told("a", 1)]))
    tell(store, told("a", 2))
    with pytest.raises(GuardChanged):
        store.commit([], [g for g in made if isinstance(g, RecordGuard)], [r for r in made if isinstance(r, Record)])


def test_what_is_sent_while_it_is_replayed_stays_the_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look at what was sent last and our commit, news comes and is sent."""
    tell(store, told("a", 1))
    outbox.sent(store, held(store, "a"), 201)
    look = rows.sent

    def overtaken(value: bytes) -> object:
        monkeypatch.setattr(rows, "sent", look)
        tell(store, told("a", 2, "cancelled"))
        assert outbox.sent(store, held(store, "a"), 200)
        return look(value)

    monkeypatch.setattr(rows, "sent", overtaken)
    assert not outbox.replay(store, unit("a"))
    assert (one(store, "a").version, is_empty(store)) == (2, True)


def test_whatever_happens_nothing_is_forgotten(store: Store) -> None:
    """At random: each unit with something to tell has an entry, no entry is left without, and all can be sent."""
    dice = random.Random(20261126)
    ids = ("a", "b", "a-")
    version = dict.fromkeys(ids, 0)
    leases: list[outbox.Lease] = []
    told_last: dict[str, int] = {}
    for _ in range(250):
        id = dice.choice(ids)
        match dice.choice(("tell", "tell", "lease", "lease", "sent", "failed", "parked", "replay", "discard")):
            case "tell":
                version[id] += 1
                told_last[id] = version[id]
                tell(store, told(id, version[id]))
            case "lease":
                found = lease(store, id, dice.choice((0.0, 60.0)))
                leases += [found] if found else []
            case "replay":
                outbox.replay(store, unit(id))
            case "discard":
                if outbox.discard(store, unit(id)):
                    told_last.pop(id, None)
            case what if leases:
                held_now = leases.pop(dice.randrange(len(leases)))
                if what == "sent":
                    outbox.sent(store, held_now, 200)
                else:
                    again = None if what == "parked" else time.time() + dice.choice((-1.0, 60.0))
                    outbox.failed(store, held_now, 503, "busy", again=again)
        with_rows = {one.key.partition(" ")[0] for one in rows.records(store, rows.ROWS)}
        entries = [rows.unit_in(r.key) for kind in (rows.DUE, rows.PARKED) for r in rows.records(store, kind)]
        assert set(entries) == with_rows
        assert sum(listing.survey(store).counts.values()) == len(with_rows)
        counted = Counter(item.state for item in listing.items(store))
        assert counted == Counter({k: n for k, n in listing.survey(store).counts.items() if n})
    for left in leases:
        outbox.failed(store, left, 503, "busy", again=0.0)
    for id in ids:
        outbox.replay(store, unit(id))
        while found := outbox.lease(store, unit(id), 0.0):
            outbox.sent(store, found, 200)
    assert is_empty(store)
    for id, last in told_last.items():
        assert (one(store, id).state, one(store, id).version) == ("sent", last)


def test_each_sender_counts_what_it_did(store: Store) -> None:
    tallies = [Tally(), Tally()]
    for n, id in enumerate(("a", "b", "a-")):
        tell(store, told(id))
        assert outbox.sent(store, held(store, id), 201, "", tallies[n % 2])
    tell(store, told("a", 2))
    outbox.failed(store, held(store, "a"), 503, "x", again=1.0, tally=tallies[0])
    outbox.failed(store, held(store, "a"), 422, "x", again=None, tally=tallies[0])
    found = tally.total(store)
    assert (found.sent, found.failed, found.parked, found.last > 0) == (3, 2, 1, True)


def test_the_version_that_the_platform_has_goes_with_what_is_sent_next(store: Store) -> None:
    tell(store, told("a", 1))
    assert outbox.sent(store, held(store, "a"), 201, etag='W/"7"')
    tell(store, told("a", 2))
    found = held(store, "a")
    assert found.etag == 'W/"7"'
    assert outbox.failed(store, found, None, "no answer", again=1.0)
    assert held(store, "a").etag == 'W/"7"'


def test_a_lost_lease_counts_nothing(store: Store) -> None:
    tell(store, told("a"))
    dead = held(store, "a", 0.0)
    held(store, "a")
    assert not outbox.sent(store, dead, 201, "", Tally())
    assert tally.total(store) == Count()


def test_the_numbers_of_silent_senders_are_added_up(store: Store) -> None:
    tallies = [Tally() for _ in range(3)]
    for n in range(6):
        tell(store, told("a", n + 1))
        assert outbox.sent(store, held(store, "a"), 200, "", tallies[n % 3])
    assert tally.fold(store, time.time() - 10) == 0
    assert tally.fold(store, time.time() + 10) == 3
    assert (len(store.records(tally.KIND)), tally.total(store).sent) == (1, 6)
    tell(store, told("a", 7))
    assert outbox.sent(store, held(store, "a"), 200, "", tallies[1])  # it was not as silent as it seemed
    assert (len(store.records(tally.KIND)), tally.total(store).sent) == (2, 7)
    assert tally.fold(store, time.time() + 10) == 1
    assert (len(store.records(tally.KIND)), tally.total(store).sent) == (1, 7)
