"""Commits: guards, versions, unique keys, index entries, records, all in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from bson import encode
from pymongo import DeleteMany, InsertOne, ReplaceOne

from fhirstore.store.base import (
    Change,
    DuplicateKey,
    Guard,
    GuardChanged,
    Record,
    RecordGuard,
    Stored,
    TooLarge,
    VersionConflict,
)
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
    past,
    stored,
)
from fhirstore.store.mongo.transaction import tick

GREATEST = 16 * 1024 * 1024 - 16 * 1024  # bytes of a document; MongoDB allows 16 MB, some kept for what it adds
_SUSPECT = 1024 * 1024  # bytes of a body or number of index texts from which on the size is computed


def prepared(layout: Layout, changes: Sequence[Change]) -> list[Document]:
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
    return made


class Commit:
    """One commit, inside its transaction."""

    def __init__(self, view: View, layout: Layout):
        self._view, self._db, self._layout = view, view.db, layout

    def run(
        self,
        changes: Sequence[Change],
        entries: Sequence[Document],
        guards: Sequence[Guard | RecordGuard],
        records: Sequence[Record],
    ) -> list[Stored]:
        seq, updated = tick(self._view, self._layout.stamp, len(changes))
        for guard in guards:
            self._guard(guard)
        by_type: dict[str, list[tuple[Change, Document]]] = {}
        for change, fields in zip(changes, entries, strict=True):
            by_type.setdefault(change.type, []).append((change, fields))
        made: dict[tuple[str, str], Stored] = {}
        released: list[str] = []
        for type, some in by_type.items():
            for one, freed in self._changes(type, some, updated):
                made[type, one.id] = one
                released += freed
        found = [made[change.type, change.id] for change in changes]
        if found:
            rows = [{"_id": seq + n, "u": updated, "t": s.type, "i": s.id, "v": s.version} for n, s in enumerate(found)]
            self._db[LOG].insert_many(rows, session=self._view.session)
        self._claim(changes, found, released)
        self._records(records)
        return found

    def _guard(self, guard: Guard | RecordGuard) -> None:
        if isinstance(guard, RecordGuard):
            row = self._db[RECORDS].find_one({"_id": _record_id(guard)}, session=self._view.session)
            if (bytes(row["value"]) if row else None) != guard.value:
                raise GuardChanged(guard)
            return
        found = Search(self._view, self._layout, guard.type, guard.where).ids(len(guard.ids) + 1)
        if set(found) != guard.ids:
            raise GuardChanged(guard)

    def _changes(
        self, type: str, changes: Sequence[tuple[Change, Document]], updated: int
    ) -> list[tuple[Stored, list[str]]]:
        """The new versions of one type, and the unique keys that each had before."""
        ids = [change.id for change, _ in changes]
        test: Document = {"_id": {"$in": ids}}
        current = {doc["_id"]: doc for doc in self._view.find(type, test, HEAD | {"keys": 1}, limit=len(ids))}
        last = self._last_versions(type, [id for id in ids if id not in current])
        found: list[tuple[Stored, list[str]]] = []
        writes: list[Any] = []
        old: list[Document] = []
        gone: list[str] = []
        for change, entries in changes:
            before = current.get(change.id)
            actual = last.get(change.id) if before is None else before["v"]
            if actual != change.replaces:
                raise VersionConflict(type, change.id, change.replaces, actual)
            version = 1 if actual is None else actual + 1
            if before is not None:
                row = stored(type, before)
                old.append(past(row.id, row.version, row.updated, False, row.method, row.meta, row.body))
            if change.deleted:
                old.append(past(change.id, version, updated, True, change.method, b"", b""))
                if before is not None:
                    gone.append(change.id)
                after = Stored(type, change.id, version, updated, True, change.method, b"", b"")
            else:
                doc = document(change, entries, version, updated)
                writes.append(InsertOne(doc) if before is None else ReplaceOne({"_id": change.id}, doc))
                after = stored(type, doc)
            found.append((after, [] if before is None else before.get("keys", [])))
        if gone:
            writes.append(DeleteMany({"_id": {"$in": gone}}))
        if writes:
            self._db[type].bulk_write(writes, ordered=False, session=self._view.session)
        if old:
            self._db[type + HISTORY].insert_many(old, session=self._view.session)
        return found

    def _last_versions(self, type: str, ids: list[str]) -> dict[str, int]:
        """The greatest version of each of these resources that are not live; those that never were are left out."""
        if not ids:
            return {}
        steps: list[Document] = [{"$match": {"i": {"$in": ids}}}, {"$group": {"_id": "$i", "v": {"$max": "$v"}}}]
        return {doc["_id"]: doc["v"] for doc in self._view.aggregate(type + HISTORY, steps)}

    def _claim(self, changes: Sequence[Change], made: Sequence[Stored], released: list[str]) -> None:
        """Unique keys: gives back those of the versions replaced, takes those of the new ones."""
        if released:
            self._db[KEYS].delete_many({"_id": {"$in": [_hash(key) for key in released]}}, session=self._view.session)
        claims: dict[str, str] = {}
        for change, one in zip(changes, made, strict=True):
            for key in () if one.deleted else dict.fromkeys(change.unique):
                if key in claims:
                    raise DuplicateKey(key, one.type, one.id, claims[key])
                claims[key] = one.ref
        if not claims:
            return
        hashes = {_hash(key): key for key in claims}
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
            id = _record_id(record)
            if record.value is None:
                writes.append(DeleteMany({"_id": id}))
            else:
                doc = {"_id": id, "kind": record.kind, "key": record.key, "value": record.value}
                writes.append(ReplaceOne({"_id": id}, doc, upsert=True))
        if writes:
            self._db[RECORDS].bulk_write(writes, session=self._view.session)


def _record_id(record: Record | RecordGuard) -> str:
    return _hash(f"{len(record.kind)} {record.kind} {record.key}")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
