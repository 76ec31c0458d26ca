"""Reads by id, scans, targets of references, unique keys and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fhirstore.model.stored import Record, Stored
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.layout import (
    HEAD,
    HISTORY,
    KEYS,
    OLD_HEAD,
    RECORDS,
    Document,
    MongoLayout,
    field,
    hashed,
    is_type,
    record_id,
    stored,
    stored_past,
)

_BATCH = 500
_GREATEST = 2**63


def read_one(session: MongoSession, type: str, id: str, version: int | None) -> Stored | None:
    """Returns the current version or the given one. The usual case is one command, and so sees one state."""
    if not is_type(type):
        return None
    doc = session.one(type, {"_id": id}, HEAD)
    if doc is not None and (version is None or doc["v"] == version):
        return stored(type, doc)
    if version is None:
        # The last version is a deletion, unless the resource was created again after the first command.
        doc = session.one(type + HISTORY, {"i": id}, OLD_HEAD, [("v", -1)])
    elif version >= _GREATEST:
        return None
    else:
        doc = session.one(type + HISTORY, {"_id": f"{id}/{version}"}, OLD_HEAD)
    return None if doc is None else stored_past(type, doc)


def read_many(session: MongoSession, refs: Iterable[str]) -> list[Stored]:
    by_type: dict[str, dict[str, None]] = {}
    for ref in refs:
        type, _, id = ref.partition("/")
        if is_type(type):
            by_type.setdefault(type, {})[id] = None
    found: list[Stored] = []
    for type in sorted(by_type):
        found += current_versions(session, type, list(by_type[type]))
    return found


def current_versions(session: MongoSession, type: str, ids: Sequence[str]) -> Iterator[Stored]:
    """Yields the live resources with these ids."""
    for some in batches(ids):
        for doc in session.find(type, {"_id": {"$in": some}}, HEAD, limit=len(some)):
            yield stored(type, doc)


def batches(values: Sequence[str], size: int = 1000) -> Iterator[list[str]]:
    """Splits the values into lists of at most `size`."""
    for start in range(0, len(values), size):
        yield list(values[start : start + size])


def references(session: MongoSession, layout: MongoLayout, sources: Sequence[Stored], param: str) -> list[str]:
    ids = [source.key for source in sources if source.key is not None]
    if not ids:
        return []
    type, name = sources[0].type, field(param)
    layout.param(type, param)
    found: dict[str, None] = {}
    for some in batches(ids):
        for doc in session.find(type, {"_id": {"$in": some}}, {f"ix.{name}": 1}, limit=len(some)):
            found.update(dict.fromkeys(doc.get("ix", {}).get(name, ())))
    return list(found)


def unique_key_owner(session: MongoSession, key: str) -> str | None:
    """See `AdministrationStore.unique_key_owner`."""
    found = session.one(KEYS, {"_id": hashed(key)}, {"r": 1})
    return None if found is None else str(found["r"])


def get_record(session: MongoSession, kind: str, key: str) -> Record | None:
    doc = session.one(RECORDS, {"_id": record_id(kind, key)}, {"value": 1})
    return None if doc is None else Record(kind, key, bytes(doc["value"]))


def records(session: MongoSession, kind: str, after: str, limit: int) -> list[Record]:
    test: Document = {"kind": kind, "key": {"$gt": after}}
    docs = session.find(RECORDS, test, {"key": 1, "value": 1}, [("key", 1)], limit)
    return [Record(kind, doc["key"], doc["value"]) for doc in docs]


def batch(session: MongoSession, type: str, after: str, size: int = _BATCH) -> list[Stored]:
    """Returns the next live resources of the type, by id."""
    return [stored(type, doc) for doc in session.find(type, {"_id": {"$gt": after}}, HEAD, [("_id", 1)], size)]
