"""Commits: guards, versions, unique keys, index entries, records, all in one transaction."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson import encode
from pymongo import DeleteOne, InsertOne, ReplaceOne

from fhirstore.model.messages import Message
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.store.errors import DuplicateKey, TooLarge, VersionConflict
from fhirstore.store.mongo.clock import STEP, ClockShard
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.guard_locks import lock_keys, lock_keys_of_document, lock_projection, take_locks
from fhirstore.store.mongo.layout import (
    HEAD,
    HISTORY,
    KEYS,
    LOG,
    RECORDS,
    Document,
    MongoLayout,
    document,
    hashed,
    past_of,
    record_id,
    stored,
)
from fhirstore.store.mongo.search import MongoSearch
from fhirstore.store.protocol import check_distinct, check_guard, check_record_guard, next_version

GREATEST = 16 * 1024 * 1024 - 16 * 1024  # bytes of a document: MongoDB allows 16 MB, and adds some itself
_SUSPECT = 256 * 1024  # bytes of a body above which the size of the whole document is computed


def prepare_commit(layout: MongoLayout, changes: Sequence[Change], records: Sequence[Record]) -> list[Document]:
    """Returns the index fields of each change. Raises ValueError for changes that no engine stores, and TooLarge."""
    check_distinct(changes)
    prepared = [layout.entries(change.type, change.index) for change in changes]
    for change, entries in zip(changes, prepared, strict=True):
        check_size(change, entries, f"{change.type}/{change.id}")
    for record in records:
        if record.value is not None and len(record.value) > GREATEST - _SUSPECT:
            raise TooLarge(
                Message(
                    "the record {kind}/{key} takes {count} bytes",
                    kind=record.kind,
                    key=record.key[:100],
                    count=len(record.value),
                )
            )
    return prepared


def check_size(change: Change, entries: Document, name: str) -> None:
    """Raises TooLarge if the document of the change exceeds MongoDB's limit."""
    if len(change.meta) + len(change.body) > _SUSPECT:
        size = len(encode(document(change, entries, 1, 0)))
        if size > GREATEST:
            raise TooLarge(
                Message(
                    "{name} takes {size} bytes with its index entries; MongoDB stores at most {greatest} in a document",
                    name=name,
                    size=size,
                    greatest=GREATEST,
                )
            )


@dataclass(frozen=True, slots=True)
class _PlannedWrite:
    """A change. before: the document of the live version that it replaces, None if the resource is not live. version:
    the number of the new version."""

    change: Change
    entries: Document
    before: Document | None
    version: int


class MongoCommit:
    """One commit, inside its transaction. least: the least `updated` of the commit."""

    def __init__(self, session: MongoSession, layout: MongoLayout, least: int):
        self._session, self._db, self._layout, self._least = session, session.db, layout, least

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
        shard = ClockShard(self._session, self._layout.stamp, self._least)
        for guard in guards:
            self._guard(guard)
        planned = self._plan(changes, entries, guards, shard)
        new: dict[tuple[str, str], Stored] = {}
        for type, writes in planned.items():
            new.update(((type, one.id), one) for one in self._write(type, writes, shard.updated))
        found = [new[change.type, change.id] for change in changes]
        self._db[LOG].insert_many(log_rows(found), session=self._session.driver_session)
        released = [
            key for writes in planned.values() for write in writes for key in (write.before or {}).get("keys", ())
        ]
        self._claim(changes, found, released)
        self._records(records)
        return found

    def _plan(
        self,
        changes: Sequence[Change],
        entries: Sequence[Document],
        guards: Sequence[Guard | RecordGuard],
        shard: ClockShard,
    ) -> dict[str, list[_PlannedWrite]]:
        """Checks the versions, advances the shard and takes the locks. Returns the writes by type."""
        by_type: dict[str, list[tuple[Change, Document]]] = {}
        for change, fields in zip(changes, entries, strict=True):
            by_type.setdefault(change.type, []).append((change, fields))
        planned: dict[str, list[_PlannedWrite]] = {}
        before: list[str] = []
        for type, some in by_type.items():
            current = self._current(type, some, bool(guards))
            before += [key for doc in current.values() for key in lock_keys_of_document(self._layout, type, doc)]
            planned[type] = self._planned_writes(type, some, current, shard)
        take_locks(self._session, lock_keys(self._layout, guards, changes, before if guards else ()))
        return planned

    def _guard(self, guard: Guard | RecordGuard) -> None:
        if isinstance(guard, RecordGuard):
            row = self._db[RECORDS].find_one(
                {"_id": record_id(guard.kind, guard.key)}, session=self._session.driver_session
            )
            return check_record_guard(guard, bytes(row["value"]) if row else None)
        search = MongoSearch(self._session, self._layout, guard.type, guard.where)
        return check_guard(guard, search.ids(len(guard.ids) + 1))

    def _current(self, type: str, changes: Sequence[tuple[Change, Document]], guarded: bool) -> dict[str, Document]:
        """Returns the live documents that the changes replace, by id."""
        ids = [change.id for change, _ in changes]
        read = HEAD | {"keys": 1} | (lock_projection(self._layout, type) if guarded else {})
        return {doc["_id"]: doc for doc in self._session.find(type, {"_id": {"$in": ids}}, read, limit=len(ids))}

    def _planned_writes(
        self, type: str, changes: Sequence[tuple[Change, Document]], current: dict[str, Document], shard: ClockShard
    ) -> list[_PlannedWrite]:
        """Checks the versions, and advances the shard past them. Raises VersionConflict."""
        last = self._last(type, [change.id for change, _ in changes if change.id not in current])
        planned: list[_PlannedWrite] = []
        latest = 0
        for change, entries in changes:
            before = current.get(change.id)
            actual, updated = last.get(change.id, (None, 0)) if before is None else (before["v"], before["u"])
            latest = max(latest, updated + STEP)
            planned.append(_PlannedWrite(change, entries, before, next_version(change, actual)))
        shard.at_least(latest)
        return planned

    def _last(self, type: str, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Returns the newest version of each of these resources that are not live, and its `updated`. Leaves out
        resources that never existed."""
        if not ids:
            return {}
        steps: list[Document] = [
            {"$match": {"i": {"$in": ids}}},
            {"$group": {"_id": "$i", "v": {"$max": "$v"}, "u": {"$max": "$u"}}},
        ]
        return {doc["_id"]: (doc["v"], doc["u"]) for doc in self._session.aggregate(type + HISTORY, steps)}

    def _write(self, type: str, planned: Sequence[_PlannedWrite], updated: int) -> list[Stored]:
        """Stores the new versions of one type and moves the replaced versions to the history.

        Every change writes the document `_id` of the type, so that concurrent changes of one resource conflict. The
        deletion of a resource that is not live creates the document and deletes it again."""
        writes: list[Any] = []
        touched: list[Any] = []
        old: list[Document] = []
        found: list[Stored] = []
        for one in planned:
            change, before = one.change, one.before
            if before is not None:
                old.append(past_of(stored(type, before)))
            if not change.deleted:
                doc = document(change, one.entries, one.version, updated)
                replaced = None if before is None else {"_id": change.id, "v": before["v"]}
                writes.append(InsertOne(doc) if replaced is None else ReplaceOne(replaced, doc))
                found.append(stored(type, doc))
                continue
            deletion = Stored(type, change.id, one.version, updated, True, change.method, b"", b"")
            old.append(past_of(deletion))
            if before is not None:
                writes.append(DeleteOne({"_id": change.id, "v": before["v"]}))
            else:
                touched += [InsertOne({"_id": change.id, "v": 0}), DeleteOne({"_id": change.id})]
            found.append(deletion)
        self._write_current(type, planned, writes, touched)
        if old:
            self._db[type + HISTORY].insert_many(old, session=self._session.driver_session)
        return found

    def _write_current(
        self, type: str, planned: Sequence[_PlannedWrite], writes: list[Any], touched: list[Any]
    ) -> None:
        if writes:
            done = self._db[type].bulk_write(writes, ordered=False, session=self._session.driver_session)
            if done.inserted_count + done.matched_count + done.deleted_count != len(writes):
                lost = next(one for one in planned if one.before is not None).change
                raise VersionConflict(type, lost.id, lost.replaces, None)
        if touched:
            self._db[type].bulk_write(touched, session=self._session.driver_session)

    def _claim(self, changes: Sequence[Change], new: Sequence[Stored], released: list[str]) -> None:
        """Releases the unique keys of the replaced versions and takes those of the new ones. Raises DuplicateKey."""
        if released:
            self._db[KEYS].delete_many(
                {"_id": {"$in": [hashed(key) for key in released]}}, session=self._session.driver_session
            )
        claims: dict[str, str] = {}
        for change, one in zip(changes, new, strict=True):
            for key in () if one.deleted else dict.fromkeys(change.unique):
                if key in claims:
                    raise DuplicateKey(key, one.type, one.id, claims[key])
                claims[key] = one.ref
        if not claims:
            return
        hashes = {hashed(key): key for key in claims}
        taken = self._session.one(KEYS, {"_id": {"$in": list(hashes)}}, {"r": 1})
        if taken is not None:
            key = hashes[taken["_id"]]
            type, _, id = claims[key].partition("/")
            raise DuplicateKey(key, type, id, taken["r"])
        rows = [{"_id": hash, "key": key, "r": claims[key]} for hash, key in hashes.items()]
        self._db[KEYS].insert_many(rows, session=self._session.driver_session)

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
            self._db[RECORDS].bulk_write(writes, session=self._session.driver_session)


def log_rows(found: Sequence[Stored]) -> list[Document]:
    """Returns the rows of the log. Among rows of one moment, later ones have greater ids."""
    first = f"{time.time_ns():016x} {secrets.token_hex(4)}"
    return [
        {"_id": f"{first} {n:06x}", "u": one.updated, "t": one.type, "i": one.id, "v": one.version}
        for n, one in enumerate(found)
    ]
