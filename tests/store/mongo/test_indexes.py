"""Index definitions and documents: what MongoDB refuses never reaches it. The stand-in would accept it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import naive
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhirstore.errors import StartupError
from fhirstore.store.base import (
    EVERYTHING,
    Change,
    Compound,
    ParamSpec,
    Present,
    Record,
    Schema,
    Token,
    TooLarge,
    Unavailable,
)
from fhirstore.store.mongo import MongoStore
from fhirstore.store.mongo.indexes import MOST_PARAMS, declared
from fhirstore.store.mongo.layout import Layout, field
from fhirstore.store.mongo.schema import made_layout

KINDS = ("token", "string", "date", "number", "quantity", "reference", "uri")
ENTRIES: dict[str, list[tuple[Any, ...]]] = {
    "token": [("s", "c"), ("", "d")],
    "string": [("a", "A"), ("b", "B")],
    "date": [(0, 1), (5, 9)],
    "number": [("1",), ("2",)],
    "quantity": [("1", "s", "c", "u"), ("2", "", "", "")],
    "reference": [("Thing/a",), ("Thing/b",)],
    "uri": [("u",), ("v",)],
}


def wide(count: int, compounds: tuple[Compound, ...] = ()) -> Schema:
    """`count` parameters of all kinds, every other one single."""
    codes = {f"p{n}": ParamSpec(f"p{n}", KINDS[n % 7], n % 2 == 0, "1") for n in range(count)}  # type: ignore[arg-type]
    return Schema({"Thing": codes}, compounds)


def entries(layout: Layout) -> dict[str, list[tuple[Any, ...]]]:
    params = layout.params["Thing"]
    return {code: ENTRIES[param.kind][: 1 if param.single else 2] for code, param in params.items()}


def lists_on(doc: Any, path: str) -> Iterator[tuple[str, ...]]:
    """The places of lists along the path."""
    here: list[str] = []
    for name in path.split("."):
        here.append(name)
        if isinstance(doc, list):
            doc = doc[0]
        doc = doc.get(name) if isinstance(doc, dict) else None
        if isinstance(doc, list):
            yield tuple(here)


@pytest.mark.parametrize("count", [0, 1, 7, 30, 55, 60, 61, 200])
def test_no_index_spans_two_lists_and_none_is_too_many(count: int) -> None:
    compounds = (Compound("Thing", ("p0", "p2", "p6")), Compound("Thing", ("p4", "p6"))) if count > 6 else ()
    layout = made_layout(wide(count, compounds))
    doc = layout.entries("Thing", entries(layout) if count else {})

    indexes = declared(layout, "Thing")

    assert len(indexes) <= 63
    assert len({index.name for index in indexes}) == len({index.fields for index in indexes}) == len(indexes)
    for index in indexes:
        assert len({place for path, _ in index.fields for place in lists_on(doc, path)}) <= 1, index


def test_every_parameter_has_an_index_and_the_wildcard_one_serves_only_where_they_are_too_many() -> None:
    for count in (1, 40, 58, MOST_PARAMS + 1):
        layout = made_layout(wide(count))
        first = [index.fields[0][0] for index in declared(layout, "Thing")]
        for code in layout.params["Thing"]:
            served = any(path == f"ix.{code}" or path.startswith(f"ix.{code}.") for path in first)
            assert served == (count <= MOST_PARAMS)
        assert ("ix.$**" in first) == (count > MOST_PARAMS)


def test_no_code_makes_a_field_that_mongodb_forbids() -> None:
    codes = ["a.b", "$where", "a\0b", "é", "value-quantity", "_id", "%2e%", "."]
    layout = made_layout(Schema({"Thing": {code: ParamSpec(code, "token", False, "1") for code in codes}}))

    made = layout.entries("Thing", {code: [("s.$", "c\0")] for code in codes})

    assert len({field(code) for code in codes}) == len(codes)
    for name in [*made["ix"], *made["lo"], *made["hi"]]:
        assert not set(name) & set(".$\0")


def test_codes_and_texts_of_all_sorts_are_stored_and_found(make_store: Callable[..., MongoStore]) -> None:
    codes = ["a.b", "$where", "a\0b", "é"]
    store = make_store(Schema({"Thing": {code: ParamSpec(code, "token", False, "1") for code in codes}}))
    index = {code: [("$s.\0", "$c.\0")] for code in codes}
    body = b'"a.b":1,"$x":"\\u0000","n":1.50,"$x":2'
    store.commit([Change("Thing", "a", None, "PUT", b"", body, index)])

    for code in codes:
        [found] = store.find("Thing", Token(code, "$s.\0", "$c.\0")).entries
        assert found.body == body
        assert store.count("Thing", Present(code)) == 1


def test_what_is_too_large_for_a_document_is_refused_by_name(store: MongoStore) -> None:
    """MongoDB refuses it too; the stand-in stores it."""
    with pytest.raises(TooLarge, match="Thing/a takes 1677"):
        store.commit([Change("Thing", "a", None, "PUT", b"", b"x" * (16 * 1024 * 1024 - 5000))])

    assert store.read("Thing", "a") is None
    store.commit([Change("Thing", "a", None, "PUT", b"", b"x" * (15 * 1024 * 1024))])


def test_a_type_gets_its_indexes_with_its_first_write(store: MongoStore, db: Database[dict[str, Any]]) -> None:
    assert "Thing" not in db.list_collection_names()

    store.commit([Change("Thing", "a", None, "PUT")])

    layout = made_layout(naive.schema())
    assert {one["name"] for one in db["Thing"].list_indexes()} == {
        "_id_",
        *(index.name for index in declared(layout, "Thing")),
    }
    assert "Other" not in db.list_collection_names()


def test_a_plugin_s_compound_index_is_made_for_data_that_are_there(
    make_store: Callable[..., MongoStore], db: Database[dict[str, Any]]
) -> None:
    make_store(wide(7)).commit([Change("Thing", "a", None, "PUT")])

    store = make_store(wide(7, (Compound("Thing", ("p4", "p2")),)))

    [made] = [dict(one["key"]) for one in db["Thing"].list_indexes() if one["name"].startswith("compound")]
    assert made == {"lo.p4": 1, "lo.p2": 1, "_id": 1}
    assert store.count("Thing", EVERYTHING) == 1


# --- opening ---


def test_a_database_of_something_else_is_left_as_it_is(
    make_store: Callable[..., MongoStore], db: Database[dict[str, Any]]
) -> None:
    db["customers"].insert_one({"_id": 1})

    with pytest.raises(StartupError, match="customers"):
        make_store()

    assert db.list_collection_names() == ["customers"]


def test_a_collection_that_is_not_ours_is_named(
    make_store: Callable[..., MongoStore], db: Database[dict[str, Any]]
) -> None:
    make_store().commit([], records=[Record("a", "b", b"c")])
    db["customers"].insert_one({"_id": 1})

    with pytest.raises(StartupError, match="customers"):
        make_store()


def test_a_meta_collection_of_something_else_is_not_taken_for_ours(
    make_store: Callable[..., MongoStore], db: Database[dict[str, Any]]
) -> None:
    db["meta"].insert_one({"_id": "x"})

    with pytest.raises(StartupError, match="meta"):
        make_store()

    assert list(db["meta"].find()) == [{"_id": "x"}]


def test_a_newer_format_is_refused(make_store: Callable[..., MongoStore], db: Database[dict[str, Any]]) -> None:
    make_store()
    db["meta"].update_one({"_id": "store"}, {"$set": {"format": 2}})

    with pytest.raises(StartupError, match="format 2"):
        make_store()


def test_an_index_that_conflicts_is_named(make_store: Callable[..., MongoStore], db: Database[dict[str, Any]]) -> None:
    make_store().commit([Change("Thing", "a", None, "PUT")])
    db["Thing"].drop_index("updated")
    db["Thing"].create_index([("other", 1)], name="updated")
    db["meta"].update_one({"_id": "type Thing"}, {"$unset": {"indexed": ""}})

    with pytest.raises(StartupError, match=r"Thing stands in the way.*dropIndex"):
        make_store()


def test_a_standalone_server_is_refused_with_what_to_do(
    make_store: Callable[..., MongoStore], fail: Callable[..., None], db: Database[dict[str, Any]]
) -> None:
    fail("find", 1, 20)  # what a standalone server says to a transaction

    with pytest.raises(StartupError, match=r"--replSet.*rs\.initiate"):
        make_store()

    assert db.list_collection_names() == []


def test_wrong_credentials_are_said(make_store: Callable[..., MongoStore], fail: Callable[..., None]) -> None:
    fail("find", 1, 18)

    with pytest.raises(StartupError, match="authSource"):
        make_store()


def test_a_server_that_is_not_there_is_said_in_time() -> None:
    store = MongoStore("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200")

    with pytest.raises(StartupError, match="cannot be reached"):
        store.open(wide(1))


@pytest.mark.parametrize("url", ["mongodb://", "mongodb://u:p@ss@h/x", "mongodb://h:0/x", "mongodb://h/a b"])
def test_a_wrong_url_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(StartupError, match="store: ") as refused:
        MongoStore(url).open(wide(1))

    assert "p@ss" not in str(refused.value)


def test_a_store_opened_with_another_schema_since_refuses_to_write(make_store: Callable[..., MongoStore]) -> None:
    old = make_store(wide(3))
    make_store(wide(4))

    with pytest.raises(Unavailable, match="restart"):
        old.commit([Change("Thing", "a", None, "PUT")])


def test_opening_twice_with_the_same_schema_changes_nothing(
    make_store: Callable[..., MongoStore], client: MongoClient[dict[str, Any]], db: Database[dict[str, Any]]
) -> None:
    make_store().commit([Change("Thing", "a", None, "PUT")])
    before = list(db["meta"].find())

    secret = make_store().secret()

    assert list(db["meta"].find()) == before
    assert len(secret) == 32
