"""A long outbox: what is read of it when somebody looks, counted in records, on both engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.bookings import sas_appointment
from support.mongo import Mongo

from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store
from fhirstore_sas.relay import listing, metrics, outbox, page, rows
from fhirstore_sas.relay.message import message_of
from fhirstore_sas.relay.outbox import Told

WAITING = {"sqlite": 3000, "replica": 400}  # our stand-in for MongoDB has no indexes


class Counting:
    """A store that counts the records that are read of it, by kind."""

    def __init__(self, store: Store, waiting: int):
        self._store, self.waiting, self.read = store, waiting, Counter[str]()

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        found = self._store.records(kind, after, limit)
        self.read[kind] += len(found)
        return found

    def get_record(self, kind: str, key: str) -> Record | None:
        found = self._store.get_record(kind, key)
        self.read[kind] += found is not None
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def cost(self) -> Counter[str]:
        cost, self.read = self.read, Counter()
        return cost


@pytest.fixture(scope="module", params=WAITING)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    folder = tmp_path_factory.mktemp("scale")
    mongo: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue("replica")
    made = open_store(f"sqlite:///{folder / 'o.db'}" if mongo is None else mongo.url(folder), Settings())
    made.open(Schema({}))
    for first in range(0, WAITING[request.param], 100):
        some = range(first, first + 100)
        told = [Told(f"a{n}", 1, message_of(sas_appointment(f"v{n}")), True) for n in some]
        news = list(outbox.news(made, told))
        guards = [one for one in news if isinstance(one, RecordGuard)]
        made.commit([], guards, [one for one in news if isinstance(one, Record)])
    yield Counting(made, WAITING[request.param])
    made.close()
    if mongo is not None:
        mongo.drop(folder)


def test_a_look_reads_what_will_be_sent_and_no_more(store: Counting) -> None:
    found = outbox.due(store, 2e9, 200)
    assert len(found) == 200
    assert store.cost() <= Counter({rows.DUE: 400})


def test_a_lease_reads_its_unit_alone(store: Counting) -> None:
    held = outbox.lease(store, rows.unit_of(("urn:oid:1.2.3.4", "v1")), 60)
    assert held is not None
    assert store.cost() <= Counter({rows.ROWS: 4, rows.WORK: 1})
    outbox.failed(store, held, 503, "503: busy", again=1.0)
    assert store.cost() == Counter()


def test_numbers_look_at_no_message(store: Counting) -> None:
    assert {m.name: m for m in metrics.read(store)}["fhirstore_sas_outbox_appointments"].samples[
        0
    ].value == store.waiting
    assert store.cost() == Counter({rows.DUE: store.waiting})
    assert list(metrics.unhealthy(store)) == []
    assert store.cost() == Counter()


def test_a_page_looks_at_the_messages_that_it_shows(store: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 50)
    assert f"and {store.waiting - 50} others" in page.write(store, {})
    assert store.cost()[rows.ROWS] <= 50 * 4


def test_a_list_of_all_is_read_one_by_one(store: Counting) -> None:
    all_of_them = listing.items(store)
    assert [next(all_of_them).state for _ in range(10)] == ["waiting"] * 10
    assert store.cost()[rows.ROWS] <= 10 * 4


def test_one_is_found_by_its_whole_identifier_at_once(store: Counting) -> None:
    assert listing.called(store, "urn:oid:1.2.3.4|v7") == [rows.unit_of(("urn:oid:1.2.3.4", "v7"))]
    assert store.cost()[rows.ROWS] <= 4
