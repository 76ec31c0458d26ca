"""Reads that are no searches: one resource, many by reference, the targets of references, history, everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fhirstore.model.stored import Record, Stored
from fhirstore.store.mongo.clock import fence
from fhirstore.store.mongo.connection import View
from fhirstore.store.mongo.filters import all_of
from fhirstore.store.mongo.layout import (
    HEAD,
    HISTORY,
    KEYS,
    LOG,
    RECORDS,
    Document,
    Layout,
    field,
    hashed,
    is_type,
    record_id,
    stored,
    stored_past,
)
from fhirstore.store.protocol import ResultPage

_BATCH = 500
_PAST = HEAD | {"i": 1, "d": 1}
_NEWEST = [("u", -1), ("_id", -1)]
_GREATEST = 2**63


def read_one(view: View, type: str, id: str, version: int | None) -> Stored | None:
    """The current version or the one asked for; one command, one state of the store, in the usual case."""
    if not is_type(type):
        return None
    doc = view.one(type, {"_id": id}, HEAD)
    if doc is not None and (version is None or doc["v"] == version):
        return stored(type, doc)
    if version is None:
        # No live resource: the last version is a deletion, unless it was made again since the first look.
        doc = view.one(type + HISTORY, {"i": id}, _PAST, [("v", -1)])
    elif version >= _GREATEST:
        return None
    else:
        doc = view.one(type + HISTORY, {"_id": f"{id}/{version}"}, _PAST)
    return None if doc is None else stored_past(type, doc)


def read_many(view: View, refs: Iterable[str]) -> list[Stored]:
    by_type: dict[str, dict[str, None]] = {}
    for ref in refs:
        type, _, id = ref.partition("/")
        if is_type(type):
            by_type.setdefault(type, {})[id] = None
    found: list[Stored] = []
    for type in sorted(by_type):
        found += _current(view, type, list(by_type[type]))
    return found


def _current(view: View, type: str, ids: Sequence[str]) -> Iterator[Stored]:
    for some in _batches(ids):
        for doc in view.find(type, {"_id": {"$in": some}}, HEAD, limit=len(some)):
            yield stored(type, doc)


def _batches(values: Sequence[str], size: int = 1000) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])


def references(view: View, layout: Layout, sources: Sequence[Stored], param: str) -> list[str]:
    ids = [source.key for source in sources if source.key is not None]
    if not ids:
        return []
    type, name = sources[0].type, field(param)
    layout.param(type, param)
    found: dict[str, None] = {}
    for some in _batches(ids):
        for doc in view.find(type, {"_id": {"$in": some}}, {f"ix.{name}": 1}, limit=len(some)):
            found.update(dict.fromkeys(doc.get("ix", {}).get(name, ())))
    return list(found)


def _within(since: int | None, until: int | None) -> Document:
    bounds = {operator: bound for operator, bound in (("$gte", since), ("$lt", until)) if bound is not None}
    return {"u": bounds} if bounds else {}


def history(
    view: View, type: str | None, since: int | None, until: int | None, after: list[Any] | None, limit: int | None
) -> ResultPage:
    """The history of a type, or of everything, up to a fence; pages start behind a version, given as (updated, type,
    id, version): this means the same in every engine."""
    if after is None:
        done = fence(view) + 1
        until = done if until is None else min(until, done)
    tests: list[Document] = [{} if type is None else {"t": type}, _within(since, until)]
    if after is not None:
        updated, seq = after[0], _row_of(view, *after)
        tests += [{"u": {"$lte": updated}}, {"$or": [{"u": {"$lt": updated}}, {"_id": {"$lt": seq}}]}]
    need = None if limit is None else limit + 1
    rows = list(view.find(LOG, all_of(tests), {"u": 1, "t": 1, "i": 1, "v": 1}, _NEWEST, need))
    more = limit is not None and len(rows) > limit
    rows = rows[:limit]
    found = _versions(view, rows)
    entries = [found[row["t"], row["i"], row["v"]] for row in rows]
    return ResultPage(entries, [rows[-1][name] for name in ("u", "t", "i", "v")] if more else None)


def _row_of(view: View, updated: int, type: str, id: str, version: int) -> str:
    """The id in the log of the row that names the version."""
    row = view.one(LOG, {"t": type, "u": updated, "i": id, "v": version}, {"_id": 1})
    if row is None:
        raise ValueError(f"there is no version {version} of {type}/{id}")
    found: str = row["_id"]
    return found


def _versions(view: View, rows: Sequence[Document]) -> dict[tuple[str, str, int], Stored]:
    """The versions that rows of the log name. A version moves from one collection to the other when it is replaced,
    so the current ones are read first."""
    found: dict[tuple[str, str, int], Stored] = {}
    by_type: dict[str, list[Document]] = {}
    for row in rows:
        by_type.setdefault(row["t"], []).append(row)
    for type, some in by_type.items():
        for one in _current(view, type, list(dict.fromkeys(row["i"] for row in some))):
            found[type, one.id, one.version] = one
        past = [f"{row['i']}/{row['v']}" for row in some if (type, row["i"], row["v"]) not in found]
        for batch in _batches(past):
            for doc in view.find(type + HISTORY, {"_id": {"$in": batch}}, _PAST, limit=len(batch)):
                found[type, doc["i"], doc["v"]] = stored_past(type, doc)
    return found


def history_of(
    view: View,
    type: str,
    id: str,
    since: int | None,
    until: int | None,
    after: list[Any] | None,
    limit: int | None,
) -> ResultPage:
    """The history of one resource; pages start behind a version."""
    if not is_type(type):
        return ResultPage([], None)
    tests = [_within(since, until), {} if after is None else {"v": {"$lt": after[0]}}]
    current = view.one(type, all_of([{"_id": id}, *tests]), HEAD)
    entries = [] if current is None else [stored(type, current)]
    need = None if limit is None else limit + 1
    for doc in view.find(type + HISTORY, all_of([{"i": id}, *tests]), _PAST, [("v", -1)], need):
        if not entries or doc["v"] < entries[-1].version:  # the current version may have been replaced meanwhile
            entries.append(stored_past(type, doc))
    if limit is None or len(entries) <= limit:
        return ResultPage(entries, None)
    return ResultPage(entries[:limit], [entries[limit - 1].version])


def history_count(view: View, type: str | None, id: str | None, since: int | None, until: int | None) -> int:
    within = _within(since, until)
    if type is None or id is None:
        return view.count(LOG, within if type is None else {"t": type} | within, None)
    if not is_type(type):
        return 0
    return view.count(type, {"_id": id} | within, None) + view.count(type + HISTORY, {"i": id} | within, None)


def unique_key_owner(view: View, key: str) -> str | None:
    """Of a unique key."""
    found = view.one(KEYS, {"_id": hashed(key)}, {"r": 1})
    return None if found is None else str(found["r"])


def get_record(view: View, kind: str, key: str) -> Record | None:
    doc = view.one(RECORDS, {"_id": record_id(kind, key)}, {"value": 1})
    return None if doc is None else Record(kind, key, bytes(doc["value"]))


def records(view: View, kind: str, after: str, limit: int) -> list[Record]:
    test: Document = {"kind": kind, "key": {"$gt": after}}
    docs = view.find(RECORDS, test, {"key": 1, "value": 1}, [("key", 1)], limit)
    return [Record(kind, doc["key"], doc["value"]) for doc in docs]


def batch(view: View, type: str, after: str, size: int = _BATCH) -> list[Stored]:
    """The next live resources of the type by id."""
    return [stored(type, doc) for doc in view.find(type, {"_id": {"$gt": after}}, HEAD, [("_id", 1)], size)]
