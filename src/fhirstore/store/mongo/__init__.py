"""The production engine: MongoDB 6 or newer, a replica set (one node suffices) or a sharded cluster.

`layout` says how resources lie in documents, `indexes` which indexes there are; `filters`, `joins` and `find` are the
searches; `transaction`, `clock`, `meeting` and `write` the commits; `read`, `reindex` and `schema` the rest;
`connection` the clients.
Only this package imports pymongo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from fhirstore.errors import StartupError
from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import Schema
from fhirstore.model.stored import (
    Change,
    Guard,
    Record,
    RecordGuard,
    Stored,
)
from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo import read as reads
from fhirstore.store.mongo import reindex as reindexing
from fhirstore.store.mongo import transfer
from fhirstore.store.mongo.building import Builder, report
from fhirstore.store.mongo.clock import ticks
from fhirstore.store.mongo.connection import Connections, View, translating
from fhirstore.store.mongo.find import Search
from fhirstore.store.mongo.indexes import Index, create_for_type
from fhirstore.store.mongo.joins import has_joins
from fhirstore.store.mongo.layout import META, OWN, STORE, Layout, is_type
from fhirstore.store.mongo.schema import Transactions, database_exists, open_database
from fhirstore.store.mongo.transaction import transact
from fhirstore.store.mongo.write import Commit, prepared
from fhirstore.store.protocol import Extractor, IndexInfo, ResultPage
from fhirstore.store.transfer import Version

__all__ = ["MongoStore"]


class MongoStore:
    """A store in the database that the MongoDB URL names (`fhirstore` if it names none), see `store.protocol.Store`
    and `store.transfer`.
    Times out after seconds: writes that do not succeed (Unavailable), searches (TimedOut)."""

    def __init__(
        self,
        url: str,
        *,
        write_timeout_s: float = 15.0,
        search_timeout_s: float = 30.0,
        transactions: Transactions = "auto",
    ):
        self._connections = Connections(url, write_timeout_s, max(write_timeout_s, search_timeout_s))
        self._write_timeout_s, self._search_timeout_s = write_timeout_s, search_timeout_s
        self._transactions = transactions
        self._layout = Layout("", {}, {})
        self._missing: list[tuple[str, Index]] = []

    def open(self, schema: Schema) -> None:
        try:
            self._layout, self._missing = open_database(
                self._connections, schema, self._write_timeout_s, self._transactions
            )
        finally:
            self._connections.close()  # no client may cross a fork

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with translating(), self._connections.snapshot():
            yield

    def snapshot(self) -> AbstractContextManager[None]:
        return self._reading()

    @contextmanager
    def _searching(self, several: bool = False) -> Iterator[View]:
        """A view for one search; `several` commands of which see one state."""
        with translating(), self._connections.snapshot() if several else nullcontext():
            yield self._connections.view(self._search_timeout_s)

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        with self._searching() as view:
            return reads.read_one(view.at_primary(), type, id, version)

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        entries = prepared(self._layout, changes, records)
        self._serve()
        with translating():
            for type in {change.type for change in changes}:
                self._make_ready(type)
            process = self._connections.process()
            stored = transact(
                self._connections,
                self._write_timeout_s,
                lambda view: Commit(view, self._layout, process.latest).run(changes, entries, guards, records),
            )
            process.saw(stored[0].updated if stored else 0)
            return stored

    def _serve(self) -> None:
        """Begins to make what was missing at the start, in a process that serves: not in one that only opens the store
        and then forks."""
        if self._missing:
            self._connections.process().begin(lambda db: Builder(self._missing).start(db))

    def _make_ready(self, type: str) -> None:
        """The collections and indexes of the type: no transaction can wait for them."""
        process = self._connections.process()
        if type in process.ready:
            return
        if not is_type(type):
            raise ValueError(f"{type!r} is no name of a resource type")
        try:
            create_for_type(process.db, self._layout, type)
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
    ) -> ResultPage:
        self._serve()
        with self._searching(has_joins(where)) as view:
            return Search(view, self._layout, type, where).page(sort, after, limit)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        self._serve()
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
    ) -> ResultPage:
        with self._searching() as view:
            if type is not None and id is not None:
                return reads.history_of(view.at_primary(), type, id, since, until, after, limit)
            return reads.history(view.at_primary(), type, since, until, after, limit)

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        with self._searching(several=True) as view:
            return reads.history_count(view, type, id, since, until)

    def unique_key_owner(self, key: str) -> str | None:
        with self._searching() as view:
            return reads.unique_key_owner(view, key)

    def get_record(self, kind: str, key: str) -> Record | None:
        with self._searching() as view:
            return reads.get_record(view, kind, key)

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

    def indexes(self) -> list[IndexInfo]:
        with translating():
            return list(report(self._connections.process().db, self._layout))

    def drop_unused(self) -> list[IndexInfo]:
        dropped = [index for index in self.indexes() if index.state == "unused"]
        with translating():
            for index in dropped:
                self._connections.process().db[index.collection].drop_index(index.name)
        return dropped

    def secret(self) -> bytes:
        with self._searching() as view:
            store = view.at_primary().one(META, {"_id": STORE}, {"secret": 1})
        if store is None:
            raise Unavailable("the database has been removed; restart the server")
        return bytes(store["secret"])

    def health(self) -> None:
        """Reads at the primary, once more if the first connection turns out to be dead."""
        self._serve()
        with translating():
            if not ticks(self._connections.view(self._write_timeout_s).at_primary()):
                raise Unavailable("the database has been removed; restart the server")

    def exists(self) -> bool:
        return database_exists(self._connections, self._write_timeout_s, self._transactions)

    def versions(self, after: list[Any] | None = None) -> Iterator[Version]:
        with translating():
            yield from transfer.versions(self._connections, after, self._search_timeout_s)

    def record_kinds(self) -> list[str]:
        with self._searching() as view:
            return list(transfer.record_kinds(view))

    def restore(self, versions: Sequence[Version], records: Sequence[Record] = ()) -> None:
        entries = transfer.prepared(self._layout, versions)
        with translating():
            for type in {version.stored.type for version in versions}:
                self._make_ready(type)
            transact(
                self._connections,
                self._write_timeout_s,
                lambda view: transfer.Restore(view, self._layout, 0).take(versions, entries, records),
            )

    def set_secret(self, secret: bytes) -> None:
        with translating():
            self._connections.process().db[META].update_one({"_id": STORE}, {"$set": {"secret": secret}})
