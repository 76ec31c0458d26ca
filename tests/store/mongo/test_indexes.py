"""MongoIndex definitions and documents: what MongoDB refuses never reaches it. The stand-in would accept it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import naive
import pytest
from pymongo.database import Database

from fhirstore.model.conditions import (
    Condition,
    Present,
    String,
    Token,
    Uri,
)
from fhirstore.model.indexing import CompoundIndex, IndexedParameter, Schema
from fhirstore.model.stored import Change, Record
from fhirstore.store.errors import TooComplex, TooLarge
from fhirstore.store.mongo import MongoStore
from fhirstore.store.mongo.filters import LONGEST_ABOVE, LONGEST_CONTAINED
from fhirstore.store.mongo.indexes import MOST_PARAMS, declared
from fhirstore.store.mongo.layout import MongoLayout, field
from fhirstore.store.mongo.schema import make_layout
from fhirstore.store.mongo.write import GREATEST

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


def wide(count: int, compounds: tuple[CompoundIndex, ...] = ()) -> Schema:
    """`count` parameters of all kinds, every other one single."""
    codes = {f"p{n}": IndexedParameter(f"p{n}", KINDS[n % 7], n % 2 == 0, "1") for n in range(count)}  # type: ignore[arg-type]
    return Schema({"Thing": codes}, compounds)


def entries(layout: MongoLayout) -> dict[str, list[tuple[Any, ...]]]:
    params = layout.params["Thing"]
    return {code: ENTRIES[param.kind][: 1 if param.single else 2] for code, param in params.items()}


def lists_on(doc: Any, path: str) -> Iterator[tuple[str, ...]]:
    """The lock_keys of lists along the path."""
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
    compounds = (CompoundIndex("Thing", ("p0", "p2", "p6")), CompoundIndex("Thing", ("p4", "p6"))) if count > 6 else ()
    layout = make_layout(wide(count, compounds))
    doc = layout.entries("Thing", entries(layout) if count else {})

    indexes = declared(layout, "Thing")

    assert len(indexes) <= 63
    assert len({index.name for index in indexes}) == len({index.fields for index in indexes}) == len(indexes)
    for index in indexes:
        assert len({place for path, _ in index.fields for place in lists_on(doc, path)}) <= 1, index


def test_every_parameter_has_an_index_and_the_wildcard_one_serves_only_where_they_are_too_many() -> None:
    for count in (1, 40, 58, MOST_PARAMS + 1):
        layout = make_layout(wide(count))
        first = [index.fields[0][0] for index in declared(layout, "Thing")]
        for code in layout.params["Thing"]:
            served = any(path == f"ix.{code}" or path.startswith(f"ix.{code}.") for path in first)
            assert served == (count <= MOST_PARAMS)
        assert ("ix.$**" in first) == (count > MOST_PARAMS)


def test_no_code_makes_a_field_that_mongodb_forbids() -> None:
    codes = ["a.b", "$where", "a\0b", "é", "value-quantity", "_id", "%2e%", "."]
    layout = make_layout(Schema({"Thing": {code: IndexedParameter(code, "token", False, "1") for code in codes}}))

    made = layout.entries("Thing", {code: [("s.$", "c\0")] for code in codes})

    assert len({field(code) for code in codes}) == len(codes)
    for name in [*made["ix"], *made["lo"], *made["hi"]]:
        assert not set(name) & set(".$\0")


def test_codes_and_texts_of_all_sorts_are_stored_and_found(make_store: Callable[..., MongoStore]) -> None:
    codes = ["a.b", "$where", "a\0b", "é"]
    store = make_store(Schema({"Thing": {code: IndexedParameter(code, "token", False, "1") for code in codes}}))
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


def test_a_record_that_is_too_large_for_a_document_is_refused_by_name(store: MongoStore) -> None:
    value = b"x" * GREATEST

    with pytest.raises(TooLarge, match=f"record outbox/1 takes {len(value)} bytes"):
        store.commit([Change("Thing", "a", None, "PUT")], records=[Record("outbox", "1", value)])

    assert store.read("Thing", "a") is None
    assert store.records("outbox") == []


@pytest.mark.parametrize(
    ("condition", "longest"),
    [
        (lambda text: Uri("uri", text, "above"), LONGEST_ABOVE),
        (lambda text: String("str", "contains", text), LONGEST_CONTAINED),
    ],
    ids=["uri above", "string contains"],
)
def test_a_value_too_long_for_a_filter_is_refused(
    store: MongoStore, condition: Callable[[str], Condition], longest: int
) -> None:
    """Of a command that is too large MongoDB refuses the whole with an error of its own; the longest one still fits."""
    store.find("Thing", condition("é" * longest))

    with pytest.raises(TooComplex, match=f"{longest + 1} characters; this modifier allows at most {longest}"):
        store.find("Thing", condition("é" * (longest + 1)))


def test_a_type_gets_its_indexes_with_its_first_write(store: MongoStore, db: Database[dict[str, Any]]) -> None:
    assert "Thing" not in db.list_collection_names()

    store.commit([Change("Thing", "a", None, "PUT")])

    layout = make_layout(naive.schema())
    assert {one["name"] for one in db["Thing"].list_indexes()} == {
        "_id_",
        *(index.name for index in declared(layout, "Thing")),
    }
    assert "Other" not in db.list_collection_names()
