"""The indexes of each collection, and how they come to be.

MongoDB allows 64 indexes on a collection and none over two lists. So a type has one index per parameter, on its list
in `ix`; beyond `MOST_PARAMS` parameters one wildcard index instead. Compound indexes and sort indexes are made of the
scalars in `lo` and `hi`. Sort indexes are for dates and texts, while there is room: every index makes writes slower,
and a sort by anything else takes place in memory, among what matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from fhirstore.errors import StartupError
from fhirstore.store.mongo.layout import HISTORY, KEYS, LOG, RECORDS, Document, Layout, field

MOST_PARAMS = 60
_MOST = 63  # beside the one on _id
_CONFLICTS = (85, 86)  # IndexOptionsConflict, IndexKeySpecsConflict
_NO_COLLECTION, _EXISTS = 26, 48

Fields = tuple[tuple[str, int], ...]


class Index(NamedTuple):
    """A declared index: its name and its fields with their directions."""

    name: str
    fields: Fields


OWN: dict[str, tuple[Index, ...]] = {  # collections that belong to no type
    LOG: (
        Index("newest", (("u", -1), ("_id", -1))),
        Index("type_newest", (("t", 1), ("u", -1), ("_id", -1))),
    ),
    RECORDS: (Index("kind_key", (("kind", 1), ("key", 1))),),
    KEYS: (),
}
PAST = (Index("id_version", (("i", 1), ("v", -1))),)


def declared(layout: Layout, type: str) -> list[Index]:
    """The indexes of the type's current versions."""
    params = layout.params.get(type, {})
    first = [
        Index("updated", (("u", 1), ("_id", 1))),
        Index("missing", (("miss", 1), ("_id", 1))),
        *(Index(f"compound_{'_'.join(map(field, codes))}", _keys(codes)) for codes in layout.compounds.get(type, ())),
    ]
    if len(params) > min(MOST_PARAMS, _MOST - len(first)):
        first.append(Index("parameters", (("ix.$**", 1),)))
    else:
        first += [_of_param(layout, type, code) for code in sorted(params)]
    return [*first, *list(_sorts(layout, type))[: max(0, _MOST - len(first))]]


def _keys(codes: Sequence[str]) -> Fields:
    return (*((f"lo.{field(code)}", 1) for code in codes), ("_id", 1))


def _of_param(layout: Layout, type: str, code: str) -> Index:
    path = f"ix.{field(code)}"
    members = {"date": (".l", ".h"), "quantity": (".k",)}.get(layout.param(type, code).kind, ("",))
    return Index(f"param_{field(code)}", (*((path + member, 1) for member in members), ("_id", 1)))


def _sorts(layout: Layout, type: str) -> Iterator[Index]:
    """Most wanted first: dates in both directions, texts."""
    yield Index("updated_desc", (("u", -1), ("_id", 1)))
    params = layout.params.get(type, {})
    for kind in ("date", "string"):
        for code in sorted(code for code, param in params.items() if param.kind == kind):
            yield Index(f"sort_{field(code)}", ((f"lo.{field(code)}", 1), ("_id", 1)))
            if kind == "date":
                yield Index(f"sort_{field(code)}_desc", ((f"hi.{field(code)}", -1), ("_id", 1)))


def create(db: Database[Document], collection: str, indexes: Sequence[Index]) -> None:
    """Makes the collection, and its indexes where it is empty: elsewhere that may take hours, see building.py.
    Raises StartupError for one that conflicts."""
    try:
        db.create_collection(collection, check_exists=False)
    except CollectionInvalid:
        pass
    except OperationFailure as problem:
        if problem.code != _EXISTS and "exists" not in str(problem):
            raise
    if db[collection].find_one({}, {"_id": 1}) is None:
        build(db, collection, indexes)


def build(db: Database[Document], collection: str, indexes: Sequence[Index]) -> None:
    """Makes the indexes that are missing. Raises StartupError for one that conflicts."""
    if not indexes:
        return
    try:
        db[collection].create_indexes([IndexModel(list(index.fields), name=index.name) for index in indexes])
    except OperationFailure as problem:
        if problem.code not in _CONFLICTS:
            raise
        raise _conflict(db, collection, str((problem.details or {}).get("errmsg", problem))) from problem


def create_for_type(db: Database[Document], layout: Layout, type: str) -> None:
    create(db, type, declared(layout, type))
    create(db, type + HISTORY, PAST)


def present(db: Database[Document], collection: str) -> dict[str, Fields]:
    """The indexes there are, without that on _id; none where there is no such collection."""
    try:
        found = list(db[collection].list_indexes())
    except OperationFailure as problem:
        if problem.code != _NO_COLLECTION:
            raise
        return {}
    return {one["name"]: tuple(one["key"].items()) for one in found if one["name"] != "_id_"}


def missing(db: Database[Document], collection: str, indexes: Sequence[Index]) -> list[Index]:
    """Those of the indexes that are not there. Raises StartupError for one whose name or fields another one has."""
    there = present(db, collection)
    for index in indexes:
        for name, fields in there.items():
            if (name == index.name) != (fields == index.fields):
                raise _conflict(
                    db, collection, f"{name} on {_shown(fields)}, wanted {index.name} on {_shown(index.fields)}"
                )
    return [index for index in indexes if index.name not in there]


def _shown(fields: Fields) -> str:
    return "(" + ", ".join(f"{path} {direction}" for path, direction in fields) + ")"


def _conflict(db: Database[Document], collection: str, text: str) -> StartupError:
    return StartupError(
        f"store: an index of the collection {db.name}.{collection} stands in the way of one that fhirstore needs; "
        f"drop it with dropIndex: {text}"
    )
