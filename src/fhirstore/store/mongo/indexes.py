"""The declared indexes of each collection, and their creation.

MongoDB allows 64 indexes on a collection and none over two lists. So a type has one index per parameter, on its list
in `ix`, or one wildcard index beyond `MOST_PARAMS` parameters. Compound indexes and sort indexes use the scalars in
`lo` and `hi`. Only dates and texts have sort indexes, up to the limit: every index slows writes down, and MongoDB sorts
the matching resources in memory for other sorts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pymongo import IndexModel
from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from fhirstore.errors import StartupError
from fhirstore.store.mongo.layout import HISTORY, KEYS, LOG, RECORDS, Document, MongoLayout, field

MOST_PARAMS = 60
_MOST = 63  # without the index on _id
_CONFLICTS = (85, 86)  # IndexOptionsConflict, IndexKeySpecsConflict
_NO_COLLECTION, _EXISTS = 26, 48

Fields = tuple[tuple[str, int], ...]


class MongoIndex(NamedTuple):
    """A declared index: its name and its fields with their directions."""

    name: str
    fields: Fields


OWN: dict[str, tuple[MongoIndex, ...]] = {  # collections that do not belong to a type
    LOG: (
        MongoIndex("newest", (("u", -1), ("_id", -1))),
        MongoIndex("type_newest", (("t", 1), ("u", -1), ("_id", -1))),
    ),
    RECORDS: (MongoIndex("kind_key", (("kind", 1), ("key", 1))),),
    KEYS: (),
}
PAST = (MongoIndex("id_version", (("i", 1), ("v", -1))),)


def declared(layout: MongoLayout, type: str) -> list[MongoIndex]:
    """Returns the indexes of the type's current versions."""
    params = layout.params.get(type, {})
    first = [
        MongoIndex("updated", (("u", 1), ("_id", 1))),
        MongoIndex("missing", (("miss", 1), ("_id", 1))),
        *(
            MongoIndex(f"compound_{'_'.join(map(field, codes))}", _keys(codes))
            for codes in layout.compounds.get(type, ())
        ),
    ]
    if len(params) > min(MOST_PARAMS, _MOST - len(first)):
        first.append(MongoIndex("parameters", (("ix.$**", 1),)))
    else:
        first += [_of_param(layout, type, code) for code in sorted(params)]
    return [*first, *list(_sorts(layout, type))[: max(0, _MOST - len(first))]]


def _keys(codes: Sequence[str]) -> Fields:
    return (*((f"lo.{field(code)}", 1) for code in codes), ("_id", 1))


def _of_param(layout: MongoLayout, type: str, code: str) -> MongoIndex:
    path = f"ix.{field(code)}"
    members = {"date": (".l", ".h"), "quantity": (".k",)}.get(layout.param(type, code).kind, ("",))
    return MongoIndex(f"param_{field(code)}", (*((path + member, 1) for member in members), ("_id", 1)))


def _sorts(layout: MongoLayout, type: str) -> Iterator[MongoIndex]:
    """Yields the sort indexes, the most useful first: dates in both directions, then texts."""
    yield MongoIndex("updated_desc", (("u", -1), ("_id", 1)))
    params = layout.params.get(type, {})
    for kind in ("date", "string"):
        for code in sorted(code for code, param in params.items() if param.kind == kind):
            yield MongoIndex(f"sort_{field(code)}", ((f"lo.{field(code)}", 1), ("_id", 1)))
            if kind == "date":
                yield MongoIndex(f"sort_{field(code)}_desc", ((f"hi.{field(code)}", -1), ("_id", 1)))


def create(db: Database[Document], collection: str, indexes: Sequence[MongoIndex]) -> None:
    """Creates the collection, and its indexes if it is empty. Otherwise building them may take hours, see
    `index_builds`. Raises StartupError for an index that conflicts."""
    try:
        db.create_collection(collection, check_exists=False)
    except CollectionInvalid:
        pass
    except OperationFailure as problem:
        if problem.code != _EXISTS and "exists" not in str(problem):
            raise
    if db[collection].find_one({}, {"_id": 1}) is None:
        build(db, collection, indexes)


def build(db: Database[Document], collection: str, indexes: Sequence[MongoIndex]) -> None:
    """Builds the missing indexes. Raises StartupError for an index that conflicts."""
    if not indexes:
        return
    try:
        db[collection].create_indexes([IndexModel(list(index.fields), name=index.name) for index in indexes])
    except OperationFailure as problem:
        if problem.code not in _CONFLICTS:
            raise
        raise _conflict(db, collection, str((problem.details or {}).get("errmsg", problem))) from problem


def create_for_type(db: Database[Document], layout: MongoLayout, type: str) -> None:
    create(db, type, declared(layout, type))
    create(db, type + HISTORY, PAST)


def present(db: Database[Document], collection: str) -> dict[str, Fields]:
    """Returns the existing indexes without the one on _id; none if the collection does not exist."""
    try:
        found = list(db[collection].list_indexes())
    except OperationFailure as problem:
        if problem.code != _NO_COLLECTION:
            raise
        return {}
    return {one["name"]: tuple(one["key"].items()) for one in found if one["name"] != "_id_"}


def missing(db: Database[Document], collection: str, indexes: Sequence[MongoIndex]) -> list[MongoIndex]:
    """Returns the indexes that do not exist. Raises StartupError if another index has the same name or fields."""
    existing = present(db, collection)
    for index in indexes:
        for name, fields in existing.items():
            if (name == index.name) != (fields == index.fields):
                raise _conflict(
                    db, collection, f"{name} on {_shown(fields)}, declared {index.name} on {_shown(index.fields)}"
                )
    return [index for index in indexes if index.name not in existing]


def _shown(fields: Fields) -> str:
    return "(" + ", ".join(f"{path} {direction}" for path, direction in fields) + ")"


def _conflict(db: Database[Document], collection: str, text: str) -> StartupError:
    return StartupError(
        f"store: an index of the collection {db.name}.{collection} conflicts with one that fhirstore needs. "
        f"Drop it with dropIndex: {text}"
    )
