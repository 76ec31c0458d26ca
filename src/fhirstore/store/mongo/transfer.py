"""Versions out of one store and into another, see `store.transfer`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bson import encode
from pymongo import DeleteMany, InsertOne, ReplaceOne

from fhirstore.model.conditions import MIN_TIME
from fhirstore.model.stored import Record, Stored
from fhirstore.store.errors import TooLarge, VersionConflict
from fhirstore.store.mongo.clock import Hand
from fhirstore.store.mongo.connection import Connections, View
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
    stored,
    stored_past,
)
from fhirstore.store.mongo.write import GREATEST, Commit, _rows
from fhirstore.store.transfer import TooOld, Version, replacing

_BATCH = 100  # versions that are in memory at once
_OLDEST = [("u", 1), ("_id", 1)]
_ROW = {"u": 1, "t": 1, "i": 1, "v": 1}
_SUSPECT = 1024 * 1024  # bytes of a body from which on the size of the document is computed
_PAST = HEAD | {"i": 1, "d": 1}

Key = tuple[str, str]  # type, id


def versions(connections: Connections, after: list[Any] | None, timeout_s: float) -> Iterator[Version]:
    """All versions behind (updated, id in the log), in that order."""
    while True:
        view = connections.view(timeout_s)
        where: Document = {}
        if after is not None:
            updated, seq = after
            where = {"u": {"$gte": updated}, "$or": [{"u": {"$gt": updated}}, {"_id": {"$gt": seq}}]}
        rows = list(view.find(LOG, where, _ROW, _OLDEST, _BATCH))
        found = _named(view, rows)
        for row in rows:
            after = [row["u"], row["_id"]]
            one, unique = found[row["t"], row["i"], row["v"]]
            yield Version(one, after, unique)
        if len(rows) < _BATCH:
            return


def _named(view: View, rows: Sequence[Document]) -> dict[tuple[str, str, int], tuple[Stored, tuple[str, ...]]]:
    """The versions that rows of the log name, with their unique keys. A version moves from one collection to the
    other when it is replaced, so the current ones are read first."""
    found: dict[tuple[str, str, int], tuple[Stored, tuple[str, ...]]] = {}
    by_type: dict[str, list[Document]] = {}
    for row in rows:
        by_type.setdefault(row["t"], []).append(row)
    for type, some in by_type.items():
        ids = list(dict.fromkeys(row["i"] for row in some))
        for doc in view.find(type, {"_id": {"$in": ids}}, HEAD | {"keys": 1}, limit=len(ids)):
            found[type, doc["_id"], doc["v"]] = stored(type, doc), tuple(doc.get("keys", ()))
        old = [f"{row['i']}/{row['v']}" for row in some if (type, row["i"], row["v"]) not in found]
        if old:
            for doc in view.find(type + HISTORY, {"_id": {"$in": old}}, _PAST, limit=len(old)):
                found[type, doc["i"], doc["v"]] = stored_past(type, doc), ()
    return found


def record_kinds(view: View) -> Iterator[str]:
    last = ""
    while (doc := view.one(RECORDS, {"kind": {"$gt": last}}, {"kind": 1}, [("kind", 1)])) is not None:
        last = doc["kind"]
        yield last


def prepared(layout: Layout, versions: Sequence[Version]) -> list[Document]:
    """The index entries of each version. Raises ValueError for what no engine stores, TooLarge for what this one
    cannot."""
    made = [layout.entries(version.stored.type, version.index) for version in versions]
    for version, entries in zip(versions, made, strict=True):
        if len(version.stored.meta) + len(version.stored.body) > _SUSPECT:
            size = len(encode(_current(version, entries)))
            if size > GREATEST:
                raise TooLarge(
                    f"version {version.stored.version} of {version.stored.ref} takes {size} bytes with its index "
                    f"entries; MongoDB stores at most {GREATEST} in a document"
                )
    return made


class Restore(Commit):
    """Versions that were committed elsewhere, inside one transaction."""

    def take(self, versions: Sequence[Version], entries: Sequence[Document], records: Sequence[Record]) -> None:
        self._check(versions)
        by_type: dict[str, list[tuple[Version, Document]]] = {}
        for version, fields in zip(versions, entries, strict=True):
            by_type.setdefault(version.stored.type, []).append((version, fields))
        released: list[tuple[str, str]] = []
        for type, some in by_type.items():
            released += self._take(type, some)
        if versions:
            rows = _rows([version.stored for version in versions])
            self._db[LOG].insert_many(rows, session=self._view.session)
        self._own(versions, released)
        self._records(records)

    def _check(self, versions: Sequence[Version]) -> None:
        """Raises TooOld, and Unavailable for a store that was opened with another schema since."""
        Hand(self._view, self._layout.stamp, self._least)
        newest = self._view.one(LOG, {}, {"u": 1}, [("u", -1), ("_id", -1)])
        before = MIN_TIME if newest is None else newest["u"]
        for version in versions:
            if version.stored.updated < before:
                raise TooOld(version.stored)
            before = version.stored.updated

    def _take(self, type: str, versions: Sequence[tuple[Version, Document]]) -> list[tuple[str, str]]:
        """Stores versions of one type; the unique keys of those that they replace, each with its holder."""
        ids = list(dict.fromkeys(version.stored.id for version, _ in versions))
        fields = HEAD | {"keys": 1}
        before = {doc["_id"]: doc for doc in self._view.find(type, {"_id": {"$in": ids}}, fields, limit=len(ids))}
        gone = [id for id in ids if id not in before]
        last: dict[str, int] = {id: version for id, (version, _) in self._last(type, gone).items()}
        last.update((id, doc["v"]) for id, doc in before.items())
        old = [_passed(stored(type, doc)) for doc in before.values()]
        released = [(key, f"{type}/{doc['_id']}") for doc in before.values() for key in doc.get("keys", ())]
        newest: dict[str, tuple[Version, Document]] = {}
        for version, entries in versions:
            one, actual = version.stored, last.get(version.stored.id)
            if one.version != (actual or 0) + 1:
                raise VersionConflict(type, one.id, one.version - 1 or None, actual)
            last[one.id] = one.version
            if one.id in newest:
                earlier = newest.pop(one.id)[0]
                old.append(_passed(earlier.stored))
            if one.deleted:
                old.append(_passed(one))
            else:
                newest[one.id] = version, entries
        deleted = [id for id in before if id not in newest]
        writes: list[Any] = [DeleteMany({"_id": {"$in": deleted}})] if deleted else []
        for id, (version, entries) in newest.items():
            doc = _current(version, entries)
            writes.append(ReplaceOne({"_id": id}, doc) if id in before else InsertOne(doc))
        if writes:
            self._db[type].bulk_write(writes, ordered=False, session=self._view.session)
        if old:
            self._db[type + HISTORY].insert_many(old, session=self._view.session)
        return released

    def _own(self, versions: Sequence[Version], released: Sequence[tuple[str, str]]) -> None:
        """Unique keys: gives back those of the versions replaced (one may have gone over to another resource since),
        takes those of the new ones."""
        holders: dict[str, str] = {}
        for version in versions:
            ref = version.stored.ref
            holders = {key: holder for key, holder in holders.items() if holder != ref}
            holders.update(dict.fromkeys(version.unique, ref))
        writes: list[Any] = []
        if freed := [(hashed(key), ref) for key, ref in released if key not in holders]:
            hashes, refs = zip(*freed, strict=True)
            writes.append(DeleteMany({"_id": {"$in": list(hashes)}, "r": {"$in": list(dict.fromkeys(refs))}}))
        for key, ref in holders.items():
            writes.append(ReplaceOne({"_id": hashed(key)}, {"key": key, "r": ref}, upsert=True))
        if writes:
            self._db[KEYS].bulk_write(writes, ordered=False, session=self._view.session)


def _current(version: Version, entries: Document) -> Document:
    return document(replacing(version), entries, version.stored.version, version.stored.updated)


def _passed(one: Stored) -> Document:
    return past(one.id, one.version, one.updated, one.deleted, one.method, one.meta, one.body)
