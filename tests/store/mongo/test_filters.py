"""Filters, projections and index plans against mongomock: what a filter matches in documents as they are stored."""

from __future__ import annotations

import random

import mongomock
import naive
import pytest
from hypothesis import given, settings

from fhirstore.model.conditions import And, Condition, Date, LastUpdated, Not, Number, Present, Sort, String, Token, Uri
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Change, Stored
from fhirstore.store.errors import TooComplex
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.filters import DEEPEST, make_filter
from fhirstore.store.mongo.indexes import PAST, declared
from fhirstore.store.mongo.joins import has_joins
from fhirstore.store.mongo.layout import HEAD, OLD_HEAD, document, past_of, stored, stored_past
from fhirstore.store.mongo.schema import make_layout
from fhirstore.store.mongo.search import MongoSearch

LAYOUT = make_layout(naive.schema())


def put(collection: mongomock.Collection, id: str, index: IndexEntries, updated: int = 0) -> None:
    change = Change("Thing", id, None, "PUT", b"", b'"n":1', index)
    collection.insert_one(document(change, LAYOUT.entries("Thing", index), 1, updated))


@pytest.fixture(scope="module")
def world() -> tuple[mongomock.Collection, naive.World]:
    """Random resources as documents, and the naive model of them."""
    rng, world = random.Random(4), naive.World()
    collection = mongomock.MongoClient()["x"]["Thing"]
    for id in naive.IDS:
        index = {code: naive.random_entries(rng, code) for code in naive.KINDS if rng.random() < 0.7}
        world.index["Thing", id], world.updated["Thing", id] = index, rng.randrange(5) * 1000
        put(collection, id, index, world.updated["Thing", id])
    return collection, world


without_joins = naive.conditions.filter(lambda where: not has_joins(where))


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(where=without_joins)
def test_a_filter_matches_what_the_condition_says(
    world: tuple[mongomock.Collection, naive.World], where: Condition
) -> None:
    collection, model = world

    found = sorted(doc["_id"] for doc in collection.find(make_filter(LAYOUT, "Thing", where)))

    assert found == model.matching("Thing", where)


@pytest.mark.parametrize(
    ("where", "path"),
    [
        (Token("tok", "s", "c"), "ix.tok"),
        (Token("tok1", "s", "c"), "ix.tok1"),
        (String("str", "prefix", "a"), "ix.str"),
        (Date("day", low_ge=1), "ix.day"),
        (Date("day1", low_ge=1), "lo.day1"),
        (Number("qty", ge="1", code="mg"), "ix.qty"),
        (Uri("uri", "u"), "ix.uri"),
        (Present("ref"), "ix.ref"),
        (Not(Present("ref")), "miss"),
        (LastUpdated(1), "u"),
    ],
)
def test_a_filter_bounds_the_first_field_of_an_index(where: Condition, path: str) -> None:
    """MongoDB can use an index for a filter that bounds the first field of the index."""
    first = {fields[0][0] for _, fields in declared(LAYOUT, "Thing")}

    filter = make_filter(LAYOUT, "Thing", And((where,)))

    assert path in str(filter)
    assert any(field == path or field.startswith(f"{path}.") for field in first)


def test_the_indexes_can_be_created_and_have_names_of_their_own() -> None:
    collection = mongomock.MongoClient()["x"]["Thing"]

    for name, fields in (*declared(LAYOUT, "Thing"), *PAST):
        collection.create_index(list(fields), name=name)

    assert len(collection.index_information()) == len(declared(LAYOUT, "Thing")) + len(PAST) + 1


def test_the_projections_hold_what_a_version_consists_of() -> None:
    database = mongomock.MongoClient()["x"]
    put(database["Thing"], "a", {"tok": [("s", "c")]}, 5000)
    old = Stored("Thing", "b", 2, 3000, True, "DELETE", b"", b"")
    database["Thing_history"].insert_one(past_of(old))

    assert stored("Thing", database["Thing"].find_one({}, HEAD)) == Stored(
        "Thing", "a", 1, 5000, False, "PUT", b"", b'"n":1', "a"
    )
    assert stored_past("Thing", database["Thing_history"].find_one({}, OLD_HEAD)) == old


@pytest.mark.parametrize("sort", [[Sort("num")], [Sort("num", True), Sort("str")], [Sort("_lastUpdated", True)]])
@pytest.mark.parametrize("size", [1, 4])
def test_the_filter_of_a_position_gives_the_rest_of_the_order(
    world: tuple[mongomock.Collection, naive.World], sort: list[Sort], size: int
) -> None:
    collection, model = world
    session = Unlimited(collection.database)
    ids: list[str] = []
    after = None
    while True:
        page = MongoSearch(session, LAYOUT, "Thing", And(())).page(sort, after, size)
        ids += [one.id for one in page.entries]
        if (after := page.next) is None:
            break

    assert ids == model.ordered("Thing", And(()), sort)


class Unlimited(MongoSession):
    """A session on mongomock, which has neither sessions nor time limits nor disks."""

    def __init__(self, database: mongomock.Database):
        super().__init__(database, None, float("inf"))

    def find(self, collection, where, fields, order=(), limit=None, batch=1000):  # type: ignore[no-untyped-def]
        cursor = self.db[collection].find(where, fields)
        cursor = cursor.sort(list(order)) if order else cursor
        return iter(cursor if limit is None else cursor.limit(limit))


def test_a_condition_that_is_nested_too_deeply_is_refused() -> None:
    where: Condition = Present("tok")
    for _ in range(DEEPEST + 1):
        where = Not(And((where, Present("str"))))

    with pytest.raises(TooComplex, match=f"{DEEPEST} levels"):
        make_filter(LAYOUT, "Thing", where)
