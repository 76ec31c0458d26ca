"""A long outbox: how many records each step reads, on both engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from support.mongo import Mongo
from support.outbox import Outbox, key, message

from fhirstore.jobs.queue import job_id
from fhirstore.jobs.records import DONE, DUE, ITEM, WORK
from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Record
from fhirstore.plugins import Retry
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store
from fhirstore_sas.relay import page, status

WAITING = {"sqlite": 3000, "replica": 400}  # our stand-in for MongoDB has no indexes


class Counting:
    """A store that counts the records that are read, by kind."""

    def __init__(self, store: Store, waiting: int) -> None:
        self._store, self.waiting, self.read = store, waiting, Counter[str]()

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        found = self._store.records(kind, after, limit)
        self.read[kind] += len(found)
        return found

    def get_record(self, kind: str, key: str) -> Record | None:
        self.read[kind] += 1
        return self._store.get_record(kind, key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def cost(self) -> Counter[str]:
        cost, self.read = self.read, Counter()
        return cost


@pytest.fixture(scope="module", params=WAITING)
def outbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    folder = tmp_path_factory.mktemp("scale")
    mongo: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue("replica")
    made = open_store(f"sqlite:///{folder / 'o.db'}" if mongo is None else mongo.url(folder), Settings())
    made.open(Schema({}))
    found = Outbox(Counting(made, WAITING[request.param]))  # type: ignore[arg-type]
    for first in range(0, WAITING[request.param], 100):
        found.enqueue(*(message(f"v{n}", id=f"a{n}") for n in range(first, first + 100)))
    found.store.cost()
    yield found
    made.close()
    if mongo is not None:
        mongo.drop(folder)


def test_a_look_reads_the_jobs_that_will_run_and_no_more(outbox: Outbox) -> None:
    assert len(outbox.queue.due(200)) == 200
    assert outbox.store.cost() <= Counter({DUE: 400})


def test_a_claim_reads_its_job_alone(outbox: Outbox) -> None:
    claim = outbox.queue.claim(job_id(key("v1")))
    assert claim is not None
    assert outbox.store.cost() <= Counter({ITEM: 4, WORK: 1, DONE: 1})
    outbox.queue.fail(claim, Retry("503: busy"))
    assert outbox.store.cost() == Counter()


def test_counts_read_no_message(outbox: Outbox) -> None:
    found = {m.name: m for m in status.metrics(outbox.jobs)}["fhirstore_sas_outbox_appointments"]
    assert found.samples[0].value == outbox.store.waiting
    assert outbox.store.cost() == Counter({DUE: outbox.store.waiting})
    assert list(status.unhealthy(outbox.jobs)) == []
    assert outbox.store.cost() == Counter()


def test_a_page_reads_the_messages_that_it_shows(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 50)
    assert f"and {outbox.store.waiting - 50} others" in page.render(outbox.jobs, {})
    # Jobs that were never tried and those that were are two states, of which the page reads 50 each.
    assert outbox.store.cost()[ITEM] <= (50 + 1) * 4


def test_a_list_of_all_is_read_one_by_one(outbox: Outbox) -> None:
    all_of_them = status.list_items(outbox.jobs)
    assert [next(all_of_them).state for _ in range(10)] == ["waiting"] * 10
    assert outbox.store.cost()[ITEM] <= 12 * 4


def test_one_is_found_by_its_whole_identifier_at_once(outbox: Outbox) -> None:
    assert [item.id for item in status.find_items(outbox.jobs, "urn:oid:1.2.3.4|v7")] == ["a7"]
    assert outbox.store.cost()[ITEM] <= 4
