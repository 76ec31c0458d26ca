"""Indexes that are missing at the start: made in the background; what is there is reported, and dropped on request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database

from fhirstore.model.conditions import Token
from fhirstore.model.indexing import CompoundIndex, IndexedParameter, Schema
from fhirstore.model.stored import Change
from fhirstore.store.mongo import MongoStore
from fhirstore.store.mongo import indexes as definitions

Db = Database[dict[str, Any]]
MakeStore = Callable[..., MongoStore]


def schema(*codes: str, compounds: tuple[CompoundIndex, ...] = ()) -> Schema:
    return Schema({"Thing": {code: IndexedParameter(code, "token", True, "1") for code in codes}}, compounds)


def states(store: MongoStore) -> dict[str, str]:
    return {index.name: index.state for index in store.indexes() if index.collection == "Thing"}


def built(store: MongoStore) -> None:
    running = store._connections.process().running
    assert running is not None
    running.wait()  # type: ignore[attr-defined]


def test_a_start_waits_for_no_index_and_makes_what_is_missing_later(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, db: Db
) -> None:
    make_store(schema("a")).commit([Change("Thing", "x", None, "PUT", index={"a": [("s", "c")]})])
    before = set(db["Thing"].index_information())
    build = definitions.build
    monkeypatch.setattr(definitions, "build", lambda db, name, wanted: name != "Thing" or pytest.fail("at the start"))

    store = make_store(schema("a", "b", compounds=(CompoundIndex("Thing", ("a", "b")),)))

    assert set(db["Thing"].index_information()) == before
    monkeypatch.setattr(definitions, "build", build)
    assert store.count("Thing", Token("a", "s", "c")) == 1  # the first use
    built(store)
    assert set(db["Thing"].index_information()) - before == {"param_b", "compound_a_b"}
    assert dict(db["Thing"].index_information()["compound_a_b"]["key"]) == {"lo.a": 1, "lo.b": 1, "_id": 1}
    assert set(states(store).values()) == {"present"}


def test_an_index_that_somebody_dropped_is_made_again_at_the_next_start(make_store: MakeStore, db: Db) -> None:
    first = make_store(schema("a"))
    first.commit([Change("Thing", "x", None, "PUT")])
    db["Thing"].drop_index("param_a")
    assert states(first)["param_a"] == "missing"

    second = make_store(schema("a"))
    second.probe()
    built(second)

    assert states(second)["param_a"] == "present"


def test_what_cannot_be_made_is_logged_and_the_others_are_made(
    make_store: MakeStore, fail: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    make_store(schema("a")).commit([Change("Thing", "x", None, "PUT")])
    store = make_store(schema("a", "b", "c"))
    fail("createIndexes", 1, 11600)

    store.probe()
    built(store)

    assert sorted(name for name, state in states(store).items() if state == "missing") == ["param_b"]
    assert "param_b of" in caplog.text


def test_the_report_lists_unused_indexes_and_those_of_others(make_store: MakeStore, db: Db) -> None:
    make_store(schema("a", "b")).commit([Change("Thing", "x", None, "PUT")])
    db["Thing"].create_index([("mine", 1)], name="mine")

    store = make_store(schema("a"))

    assert (states(store)["param_b"], states(store)["mine"], states(store)["param_a"]) == (
        "unused",
        "foreign",
        "present",
    )
    [info] = [index for index in store.indexes() if index.name == "param_a"]
    assert info.fields == ("ix.a", "_id")
    assert info.size is not None
    assert info.uses is not None
    assert {index.collection for index in store.indexes()} == {"Thing", "Thing_history", "log", "records"}


def test_only_what_we_made_is_dropped_and_only_on_request(make_store: MakeStore, db: Db) -> None:
    make_store(schema("a", "b")).commit([Change("Thing", "x", None, "PUT")])
    db["Thing"].create_index([("mine", 1)], name="mine")
    store = make_store(schema("a"))
    assert "param_b" in db["Thing"].index_information()

    dropped = store.drop_unused_indexes()

    assert [(index.collection, index.name) for index in dropped] == [("Thing", "param_b")]
    assert "unused" not in states(store).values()
    assert "mine" in db["Thing"].index_information()


def test_a_report_does_without_the_rights_for_sizes_and_uses(make_store: MakeStore, fail: Callable[..., None]) -> None:
    store = make_store(schema("a"))
    store.commit([Change("Thing", "x", None, "PUT")])
    fail("collStats", 100, 13)

    assert {index.size for index in store.indexes()} == {None}
