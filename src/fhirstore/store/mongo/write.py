"""Commits: guards, versions, unique keys, index entries, records, all in one transaction."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import encode
from pymongo import DeleteOne, InsertOne, ReplaceOne

from fhirstore.model.stored import (
    Change,
    Guard,
    Record,
    RecordGuard,
    Stored,
)
from fhirstore.store.errors import (
    DuplicateKey,
    GuardChanged,
    TooLarge,
    VersionConflict,
)
from fhirstore.store.mongo.clock import STEP, Hand
from fhirstore.store.mongo.connection import View
from fhirstore.store.mongo.find import Search
from fhirstore.store.mongo.layout import (
    HEAD,
    HISTORY,
    KEYS,
    LOG,
    RECORDS,
    Document,
    Layout,
    document,
    hashed,
    past,
    record_id,
    stored,
)
from fhirstore.store.mongo.meeting import fields, meet, places, places_of

GREATEST = 16 * 1024 * 1024 - 16 * 1024  # bytes of a document; MongoDB allows 16 MB, some kept for what it adds
_SUSPECT = 256 * 1024  # bytes of a body from which on the size with all index entries is computed


def prepared(layout: Layout, changes: Sequence[Change], records: Sequence[Record]) -> list[Document]:
    """The index entries of each change. Raises ValueError for what no engine stores, TooLarge for what this one
    cannot."""
    if len({(change.type, change.id) for change in changes}) < len(changes):
        raise ValueError("a resource occurs twice in one commit")
    made = [layout.entries(change.type, change.index) for change in changes]
    for change, entries in zip(changes, made, strict=True):
        if len(change.meta) + len(change.body) > _SUSPECT:
            size = len(encode(document(change, entries, 1, 0)))
            if size > GREATEST:
                raise TooLarge(
                    f"{change.type}/{change.id} takes {size} bytes with its index entries; "
                    f"MongoDB stores at most {GREATEST} in a document"
                )
    for record in records:
        if record.value is not None and len(record.value) > GREATEST - _SUSPECT:
            raise TooLarge(f"the record {record.kind}/{record.key[:100]} takes {len(record.value)} bytes")
    return made


@dataclass(frozen=True, slots=True)
class _Step:
    """A change, the document of the version it replaces (None = nothing live), and the number of the new version."""

    change: Change
    entries: Document
    before: Document | None
    version: int


class Commit:
    """One commit, inside its transaction. least: the commit's `updated` is not before that."""

    def __init__(self, view: View, layout: Layout, least: int):
        self._view, self._db, self._layout, self._least = view, view.db, layout, least

    def run(
        self,
        changes: Sequence[Change],
        entries: Sequence[Document],
        guards: Sequence[Guard | RecordGuard],
        records: Sequence[Record],
    ) -> list[Stored]:
        if not changes:
            for guard in guards:
                self._guard(guard)
            self._records(records)
            return []
        hand = Hand(self._view, self._layout.stamp, self._least)
        for guard in guards:
            self._guard(guard)
        by_type: dict[str, list[tuple[Change, Document]]] = {}
        for change, found_by in zip(changes, entries, strict=True):
            by_type.setdefault(change.type, []).append((change, found_by))
        steps: dict[str, list[_Step]] = {}
        met: list[str] = []
        for type, some in by_type.items():
            current = self._current(type, some, bool(guards))
            met += [place for doc in current.values() for place in places_of(self._layout, type, doc)]
            steps[type] = self._steps(type, some, current, hand)
        meet(self._view, places(self._layout, guards, changes, met if guards else ()))
        made: dict[tuple[str, str], Stored] = {}
        for type, planned in steps.items():
            made.update(((type, one.id), one) for one in self._write(type, planned, hand.updated))
        found = [made[change.type, change.id] for change in changes]
        if found:
            self._db[LOG].insert_many(_rows(found), session=self._view.session)
        released = [
            key for planned in steps.values() for step in planned for key in (step.before or {}).get("keys", ())
        ]
        self._claim(changes, found, released)
        self._records(records)
        return found

    def _guard(self, guard: Guard | RecordGuard) -> None:
        if isinstance(guard, RecordGuard):
            row = self._db[RECORDS].find_one({"_id": record_id(guard.kind, guard.key)}, session=self._view.session)
            if (bytes(row["value"]) if row else None) != guard.value:
                raise GuardChanged(guard)
            return
        found = Search(self._view, self._layout, guard.type, guard.where).ids(len(guard.ids) + 1)
        if set(found) != guard.ids:
            raise GuardChanged(guard)

    def _current(self, type: str, changes: Sequence[tuple[Change, Document]], guarded: bool) -> dict[str, Document]:
        """The live documents that are to be replaced, by id."""
        ids = [change.id for change, _ in changes]
        read = HEAD | {"keys": 1} | (fields(self._layout, type) if guarded else {})
        return {doc["_id"]: doc for doc in self._view.find(type, {"_id": {"$in": ids}}, read, limit=len(ids))}

    def _steps(
        self, type: str, changes: Sequence[tuple[Change, Document]], current: dict[str, Document], hand: Hand
    ) -> list[_Step]:
        """Checks the versions, and moves the hand behind them. Raises VersionConflict."""
        last = self._last(type, [change.id for change, _ in changes if change.id not in current])
        found: list[_Step] = []
        latest = 0
        for change, entries in changes:
            before = current.get(change.id)
            actual, updated = last.get(change.id, (None, 0)) if before is None else (before["v"], before["u"])
            if actual != change.replaces:
                raise VersionConflict(type, change.id, change.replaces, actual)
            latest = max(latest, updated + STEP)
            found.append(_Step(change, entries, before, 1 if actual is None else actual + 1))
        hand.at_least(latest)
        return found

    def _last(self, type: str, ids: list[str]) -> dict[str, tuple[int, int]]:
        """The greatest version of each of these resources that are not live, and its `updated`; those that never were
        are left out."""
        if not ids:
            return {}
        steps: list[Document] = [
            {"$match": {"i": {"$in": ids}}},
            {"$group": {"_id": "$i", "v": {"$max": "$v"}, "u": {"$max": "$u"}}},
        ]
        return {doc["_id"]: (doc["v"], doc["u"]) for doc in self._view.aggregate(type + HISTORY, steps)}

    def _write(self, type: str, steps: Sequence[_Step], updated: int) -> list[Stored]:
        """Stores the new versions of one type and moves those that they replace to the history.

        Every change alters the document `_id` of the type, so that rivals for one id meet: a deletion of what is not
        live makes it and takes it away again."""
        writes: list[Any] = []
        touched: list[Any] = []
        old: list[Document] = []
        found: list[Stored] = []
        for step in steps:
            change, before = step.change, step.before
            if before is not None:
                row = stored(type, before)
                old.append(past(row.id, row.version, row.updated, False, row.method, row.meta, row.body))
            if not change.deleted:
                doc = document(change, step.entries, step.version, updated)
                replaced = None if before is None else {"_id": change.id, "v": before["v"]}
                writes.append(InsertOne(doc) if replaced is None else ReplaceOne(replaced, doc))
                found.append(stored(type, doc))
                continue
            old.append(past(change.id, step.version, updated, True, change.method, b"", b""))
            if before is not None:
                writes.append(DeleteOne({"_id": change.id, "v": before["v"]}))
            else:
                touched += [InsertOne({"_id": change.id, "v": 0}), DeleteOne({"_id": change.id})]
            found.append(Stored(type, change.id, step.version, updated, True, change.method, b"", b""))
        if writes:
            done = self._db[type].bulk_write(writes, ordered=False, session=self._view.session)
            if done.inserted_count + done.matched_count + done.deleted_count != len(writes):
                lost = next(step for step in steps if step.before is not None)
                raise VersionConflict(type, lost.change.id, lost.change.replaces, None)
        if touched:
            self._db[type].bulk_write(touched, session=self._view.session)
        if old:
            self._db[type + HISTORY].insert_many(old, session=self._view.session)
        return found

    def _claim(self, changes: Sequence[Change], made: Sequence[Stored], released: list[str]) -> None:
        """Unique keys: gives back those of the versions replaced, takes those of the new ones."""
        if released:
            self._db[KEYS].delete_many({"_id": {"$in": [hashed(key) for key in released]}}, session=self._view.session)
        claims: dict[str, str] = {}
        for change, one in zip(changes, made, strict=True):
            for key in () if one.deleted else dict.fromkeys(change.unique):
                if key in claims:
                    raise DuplicateKey(key, one.type, one.id, claims[key])
                claims[key] = one.ref
        if not claims:
            return
        hashes = {hashed(key): key for key in claims}
        taken = self._view.one(KEYS, {"_id": {"$in": list(hashes)}}, {"r": 1})
        if taken is not None:
            key = hashes[taken["_id"]]
            type, _, id = claims[key].partition("/")
            raise DuplicateKey(key, type, id, taken["r"])
        rows = [{"_id": hash, "key": key, "r": claims[key]} for hash, key in hashes.items()]
        self._db[KEYS].insert_many(rows, session=self._view.session)

    def _records(self, records: Sequence[Record]) -> None:
        writes: list[Any] = []
        for record in records:
            id = record_id(record.kind, record.key)
            if record.value is None:
                writes.append(DeleteOne({"_id": id}))
            else:
                doc = {"_id": id, "kind": record.kind, "key": record.key, "value": record.value}
                writes.append(ReplaceOne({"_id": id}, doc, upsert=True))
        if writes:
            self._db[RECORDS].bulk_write(writes, session=self._view.session)


def _rows(found: Sequence[Stored]) -> list[Document]:
    """Rows of the log, in an order of their own among those of one moment: later ones have greater ids."""
    first = f"{time.time_ns():016x} {secrets.token_hex(4)}"
    return [
        {"_id": f"{first} {n:06x}", "u": one.updated, "t": one.type, "i": one.id, "v": one.version}
        for n, one in enumerate(found)
    ]
