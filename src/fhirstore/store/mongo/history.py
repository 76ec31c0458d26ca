"""Histories of a resource, of a type and of everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirstore.model.stored import Stored
from fhirstore.store.mongo.clock import barrier
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.filters import all_of
from fhirstore.store.mongo.layout import (
    HEAD,
    HISTORY,
    LOG,
    NEWEST_FIRST,
    OLD_HEAD,
    Document,
    is_type,
    stored,
    stored_past,
)
from fhirstore.store.mongo.read import batches, current_versions
from fhirstore.store.protocol import ResultPage, no_such_version, resource_history_page


def _within(since: int | None, until: int | None) -> Document:
    bounds = {operator: bound for operator, bound in (("$gte", since), ("$lt", until)) if bound is not None}
    return {"u": bounds} if bounds else {}


def history(
    session: MongoSession,
    type: str | None,
    since: int | None,
    until: int | None,
    after: list[Any] | None,
    limit: int | None,
) -> ResultPage:
    """See `HistoryStore.history`. The first page sets a barrier."""
    if after is None:
        done = barrier(session) + 1
        until = done if until is None else min(until, done)
    tests: list[Document] = [{} if type is None else {"t": type}, _within(since, until)]
    if after is not None:
        updated, seq = after[0], _row_of(session, *after)
        tests += [{"u": {"$lte": updated}}, {"$or": [{"u": {"$lt": updated}}, {"_id": {"$lt": seq}}]}]
    need = None if limit is None else limit + 1
    rows = list(session.find(LOG, all_of(tests), {"u": 1, "t": 1, "i": 1, "v": 1}, NEWEST_FIRST, need))
    found = _versions(session, rows[:limit])
    entries = [found[row["t"], row["i"], row["v"]] for row in rows[:limit]]
    if limit is None or len(rows) <= limit:
        return ResultPage(entries, None)
    last = entries[-1]
    return ResultPage(entries, [last.updated, last.type, last.id, last.version])


def _row_of(session: MongoSession, updated: int, type: str, id: str, version: int) -> str:
    """Returns the _id of the version's row in the log."""
    row = session.one(LOG, {"t": type, "u": updated, "i": id, "v": version}, {"_id": 1})
    if row is None:
        raise no_such_version(type, id, version)
    found: str = row["_id"]
    return found


def _versions(session: MongoSession, rows: Sequence[Document]) -> dict[tuple[str, str, int], Stored]:
    """Returns the versions of rows of the log. A version moves to the other collection when it is replaced, so the
    current versions are read first."""
    found: dict[tuple[str, str, int], Stored] = {}
    by_type: dict[str, list[Document]] = {}
    for row in rows:
        by_type.setdefault(row["t"], []).append(row)
    for type, some in by_type.items():
        for one in current_versions(session, type, list(dict.fromkeys(row["i"] for row in some))):
            found[type, one.id, one.version] = one
        past = [f"{row['i']}/{row['v']}" for row in some if (type, row["i"], row["v"]) not in found]
        for batch in batches(past):
            for doc in session.find(type + HISTORY, {"_id": {"$in": batch}}, OLD_HEAD, limit=len(batch)):
                found[type, doc["i"], doc["v"]] = stored_past(type, doc)
    return found


def resource_history(
    session: MongoSession,
    type: str,
    id: str,
    since: int | None,
    until: int | None,
    after: list[Any] | None,
    limit: int | None,
) -> ResultPage:
    """See `HistoryStore.history`."""
    if not is_type(type):
        return ResultPage([], None)
    tests = [_within(since, until), {} if after is None else {"v": {"$lt": after[0]}}]
    current = session.one(type, all_of([{"_id": id}, *tests]), HEAD)
    entries = [] if current is None else [stored(type, current)]
    need = None if limit is None else limit + 1
    for doc in session.find(type + HISTORY, all_of([{"i": id}, *tests]), OLD_HEAD, [("v", -1)], need):
        if not entries or doc["v"] < entries[-1].version:  # the current version may have been replaced since
            entries.append(stored_past(type, doc))
    return resource_history_page(entries, limit)


def history_count(session: MongoSession, type: str | None, id: str | None, since: int | None, until: int | None) -> int:
    within = _within(since, until)
    if type is None or id is None:
        return session.count(LOG, within if type is None else {"t": type} | within, None)
    if not is_type(type):
        return 0
    return session.count(type, {"_id": id} | within, None) + session.count(type + HISTORY, {"i": id} | within, None)
