"""Copies of whole stores, see `protocol.TransferStore`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pymongo import DeleteMany, InsertOne, ReplaceOne

from fhirstore.model.conditions import MIN_TIME
from fhirstore.model.stored import Record, Stored
from fhirstore.store.errors import VersionConflict, VersionOutOfOrder
from fhirstore.store.mongo.clock import ClockShard
from fhirstore.store.mongo.connection import MongoConnections, MongoSession
from fhirstore.store.mongo.layout import (
    HEAD,
    HISTORY,
    KEYS,
    LOG,
    OLD_HEAD,
    RECORDS,
    Document,
    MongoLayout,
    document,
    hashed,
    past_of,
    stored,
    stored_past,
)
from fhirstore.store.mongo.write import MongoCommit, check_size, log_rows
from fhirstore.store.transfer import TransferredVersion, change_of

_BATCH = 100  # versions in memory at once
_OLDEST = [("u", 1), ("_id", 1)]
_ROW = {"u": 1, "t": 1, "i": 1, "v": 1}

Key = tuple[str, str]  # type, id


def versions(connections: MongoConnections, after: list[Any] | None, timeout_s: float) -> Iterator[TransferredVersion]:
    """Yields the versions after (updated, _id in the log), in that order."""
    while True:
        session = connections.session(timeout_s)
        where: Document = {}
        if after is not None:
            updated, seq = after
            where = {"u": {"$gte": updated}, "$or": [{"u": {"$gt": updated}}, {"_id": {"$gt": seq}}]}
        rows = list(session.find(LOG, where, _ROW, _OLDEST, _BATCH))
        found = _versions(session, rows)
        for row in rows:
            after = [row["u"], row["_id"]]
            one, unique = found[row["t"], row["i"], row["v"]]
            yield TransferredVersion(one, after, unique)
        if len(rows) < _BATCH:
            return


def _versions(
    session: MongoSession, rows: Sequence[Document]
) -> dict[tuple[str, str, int], tuple[Stored, tuple[str, ...]]]:
    """Returns the versions of rows of the log, with their unique keys. A version moves to the other collection when it
    is replaced, so the current versions are read first."""
    found: dict[tuple[str, str, int], tuple[Stored, tuple[str, ...]]] = {}
    by_type: dict[str, list[Document]] = {}
    for row in rows:
        by_type.setdefault(row["t"], []).append(row)
    for type, some in by_type.items():
        ids = list(dict.fromkeys(row["i"] for row in some))
        for doc in session.find(type, {"_id": {"$in": ids}}, HEAD | {"keys": 1}, limit=len(ids)):
            found[type, doc["_id"], doc["v"]] = stored(type, doc), tuple(doc.get("keys", ()))
        old = [f"{row['i']}/{row['v']}" for row in some if (type, row["i"], row["v"]) not in found]
        if old:
            for doc in session.find(type + HISTORY, {"_id": {"$in": old}}, OLD_HEAD, limit=len(old)):
                found[type, doc["i"], doc["v"]] = stored_past(type, doc), ()
    return found


def record_kinds(session: MongoSession) -> Iterator[str]:
    last = ""
    while (doc := session.one(RECORDS, {"kind": {"$gt": last}}, {"kind": 1}, [("kind", 1)])) is not None:
        last = doc["kind"]
        yield last


def prepare_versions(layout: MongoLayout, versions: Sequence[TransferredVersion]) -> list[Document]:
    """Returns the index fields of each version. Raises ValueError for versions that no engine stores, and TooLarge."""
    prepared = [layout.entries(version.stored.type, version.index) for version in versions]
    for version, entries in zip(versions, prepared, strict=True):
        check_size(change_of(version), entries, f"version {version.stored.version} of {version.stored.ref}")
    return prepared


class MongoRestore(MongoCommit):
    """Restores versions of another store, inside one transaction."""

    def restore(
        self, versions: Sequence[TransferredVersion], entries: Sequence[Document], records: Sequence[Record]
    ) -> None:
        self._check(versions)
        by_type: dict[str, list[tuple[TransferredVersion, Document]]] = {}
        for version, fields in zip(versions, entries, strict=True):
            by_type.setdefault(version.stored.type, []).append((version, fields))
        released: list[tuple[str, str]] = []
        for type, some in by_type.items():
            released += self._restore_type(type, some)
        if versions:
            rows = log_rows([version.stored for version in versions])
            self._db[LOG].insert_many(rows, session=self._session.driver_session)
        self._take_keys(versions, released)
        self._records(records)

    def _check(self, versions: Sequence[TransferredVersion]) -> None:
        """Raises VersionOutOfOrder, and Unavailable if another process has opened the store with another schema."""
        ClockShard(self._session, self._layout.stamp, self._least)
        newest = self._session.one(LOG, {}, {"u": 1}, [("u", -1), ("_id", -1)])
        before = MIN_TIME if newest is None else newest["u"]
        for version in versions:
            if version.stored.updated < before:
                raise VersionOutOfOrder(version.stored)
            before = version.stored.updated

    def _restore_type(
        self, type: str, versions: Sequence[tuple[TransferredVersion, Document]]
    ) -> list[tuple[str, str]]:
        """Stores versions of one type. Returns the unique keys of the versions that they replace, with their owners."""
        ids = list(dict.fromkeys(version.stored.id for version, _ in versions))
        fields = HEAD | {"keys": 1}
        before = {doc["_id"]: doc for doc in self._session.find(type, {"_id": {"$in": ids}}, fields, limit=len(ids))}
        missing = [id for id in ids if id not in before]
        last: dict[str, int] = {id: version for id, (version, _) in self._last(type, missing).items()}
        last.update((id, doc["v"]) for id, doc in before.items())
        old = [past_of(stored(type, doc)) for doc in before.values()]
        released = [(key, f"{type}/{doc['_id']}") for doc in before.values() for key in doc.get("keys", ())]
        newest: dict[str, tuple[TransferredVersion, Document]] = {}
        for version, entries in versions:
            one, actual = version.stored, last.get(version.stored.id)
            if one.version != (actual or 0) + 1:
                raise VersionConflict(type, one.id, one.version - 1 or None, actual)
            last[one.id] = one.version
            if one.id in newest:
                earlier = newest.pop(one.id)[0]
                old.append(past_of(earlier.stored))
            if one.deleted:
                old.append(past_of(one))
            else:
                newest[one.id] = version, entries
        deleted = [id for id in before if id not in newest]
        writes: list[Any] = [DeleteMany({"_id": {"$in": deleted}})] if deleted else []
        for id, (version, entries) in newest.items():
            doc = _current(version, entries)
            writes.append(ReplaceOne({"_id": id}, doc) if id in before else InsertOne(doc))
        if writes:
            self._db[type].bulk_write(writes, ordered=False, session=self._session.driver_session)
        if old:
            self._db[type + HISTORY].insert_many(old, session=self._session.driver_session)
        return released

    def _take_keys(self, versions: Sequence[TransferredVersion], released: Sequence[tuple[str, str]]) -> None:
        """Releases the unique keys of the replaced versions, unless another resource owns them since, and takes those
        of the new ones."""
        owners: dict[str, str] = {}
        for version in versions:
            ref = version.stored.ref
            owners = {key: owner for key, owner in owners.items() if owner != ref}
            owners.update(dict.fromkeys(version.unique, ref))
        writes: list[Any] = []
        if freed := [(hashed(key), ref) for key, ref in released if key not in owners]:
            hashes, refs = zip(*freed, strict=True)
            writes.append(DeleteMany({"_id": {"$in": list(hashes)}, "r": {"$in": list(dict.fromkeys(refs))}}))
        for key, ref in owners.items():
            writes.append(ReplaceOne({"_id": hashed(key)}, {"key": key, "r": ref}, upsert=True))
        if writes:
            self._db[KEYS].bulk_write(writes, ordered=False, session=self._session.driver_session)


def _current(version: TransferredVersion, entries: Document) -> Document:
    return document(change_of(version), entries, version.stored.version, version.stored.updated)
