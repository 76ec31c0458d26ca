"""The production engine: MongoDB 6 or newer, a replica set (one node suffices) or a sharded cluster.

`layout` says how resources lie in documents, `indexes` which indexes there are; `filters`, `joins` and `find` are the
searches; `transaction` and `write` the commits; `read`, `reindex` and `schema` the rest; `connection` the clients.
Only this package imports pymongo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from fhirstore.errors import StartupError
from fhirstore.store.base import (
    Change,
    Condition,
    Extractor,
    Guard,
    Page,
    Record,
    RecordGuard,
    Schema,
    Sort,
    Stored,
    Unavailable,
)
from fhirstore.store.mongo import indexes
from fhirstore.store.mongo import read as reads
from fhirstore.store.mongo import reindex as reindexing
from fhirstore.store.mongo.connection import Connections, View, translating
from fhirstore.store.mongo.find import Search
from fhirstore.store.mongo.joins import has_joins
from fhirstore.store.mongo.layout import KEYS, META, OWN, Layout, is_type
from fhirstore.store.mongo.schema import STORE, open_database
from fhirstore.store.mongo.transaction import CLOCK, transact
from fhirstore.store.mongo.write import Commit, prepared

__all__ = ["MongoStore"]


class MongoStore:
    """A store in the database that the MongoDB URL names (`fhirstore` if it names none), see `store.base.Store`.
    Times out after seconds: writes that do not succeed (Unavailable), searches (TimedOut)."""

    def __init__(self, url: str, *, write_timeout_s: float = 15.0, search_timeout_s: float = 30.0):
        self._connections = Connections(url, write_timeout_s)
        self._write_timeout_s, self._search_timeout_s = write_timeout_s, search_timeout_s
        self._layout = Layout("", {}, {})

    def open(self, schema: Schema) -> None:
        try:
            self._layout = open_database(self._connections, schema, self._write_timeout_s)
        finally:
            self._connections.close()  # no client may cross a fork

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with translating(), self._connections.reading():
            yield

    def reading(self) -> AbstractContextManager[None]:
        return self._reading()

    @contextmanager
    def _searching(self, several: bool = False) -> Iterator[View]:
        """A view for one search; `several` commands of which see one state."""
        with translating(), self._connections.reading() if several else nullcontext():
            yield self._connections.view(self._search_timeout_s)

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        with self._searching() as view:
            return reads.read_one(view, type, id, version)

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        entries = prepared(self._layout, changes)
        with translating():
            for type in {change.type for change in changes}:
                self._make_ready(type)
            return transact(
                self._connections,
                self._write_timeout_s,
                lambda view: Commit(view, self._layout).run(changes, entries, guards, records),
            )

    def _make_ready(self, type: str) -> None:
        """The collections and indexes of the type: no transaction can wait for them."""
        process = self._connections.process()
        if type in process.ready:
            return
        if not is_type(type):
            raise ValueError(f"{type!r} is no name of a resource type")
        try:
            view = self._connections.view(self._write_timeout_s)
            doc, digest = view.one(META, {"_id": f"type {type}"}, {"indexed": 1}), indexes.digest(self._layout, type)
            if doc is None or doc.get("indexed") != digest:
                indexes.create_for_type(process.db, self._layout, type)
                process.db[META].update_one({"_id": f"type {type}"}, {"$set": {"indexed": digest}})
        except StartupError as problem:
            raise Unavailable(str(problem)) from problem
        process.ready.add(type)

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> Page:
        with self._searching(has_joins(where)) as view:
            return Search(view, self._layout, type, where).page(sort, after, limit)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        with self._searching(has_joins(where)) as view:
            return Search(view, self._layout, type, where).count(at_most)

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        with self._searching() as view:
            return reads.read_many(view, refs)

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        with self._searching() as view:
            return reads.references(view, self._layout, sources, param)

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> Page:
        with self._searching() as view:
            if type is not None and id is not None:
                return reads.history_of(view, type, id, since, until, after, limit)
            return reads.history(view, type, since, until, after, limit)

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        with self._searching(several=True) as view:
            return reads.history_count(view, type, id, since, until)

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        with self._searching() as view:
            return reads.records(view, kind, after, limit)

    def pending(self) -> frozenset[tuple[str, str]]:
        with self._searching() as view:
            return reindexing.pending(view)

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        with translating():
            timeout_s = max(self._write_timeout_s, self._search_timeout_s)
            return reindexing.reindex(self._connections, self._layout, extract, progress, timeout_s)

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        with self._searching() as view:
            names = sorted(view.db.list_collection_names()) if type is None else [type]
        for name in names:
            after = ""
            while is_type(name) and name not in OWN:
                with self._searching() as view:
                    rows = reads.batch(view, name, after)
                if not rows:
                    break
                yield from rows
                after = rows[-1].id

    def secret(self) -> bytes:
        with self._searching() as view:
            store = view.one(META, {"_id": STORE}, {"secret": 1})
        if store is None:
            raise Unavailable("the database has been removed; restart the server")
        return bytes(store["secret"])

    def health(self) -> None:
        with translating():
            hello = self._connections.process().client.admin.command("hello")
            if not hello.get("isWritablePrimary"):
                raise Unavailable("MongoDB has no primary now")
            if self._connections.view(self._write_timeout_s).one(KEYS, {"_id": CLOCK}, {"_id": 1}) is None:
                raise Unavailable("the database has been removed; restart the server")
