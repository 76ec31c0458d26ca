"""The MongoDB engine. The protocol is documented in `store.protocol`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from pymongo import WriteConcern

from fhirstore.errors import StartupError
from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import Schema
from fhirstore.model.messages import text_of
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.settings import Settings
from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo import history as histories
from fhirstore.store.mongo import read as reads
from fhirstore.store.mongo import reindex as reindexing
from fhirstore.store.mongo import transfer
from fhirstore.store.mongo.clock import newest_time
from fhirstore.store.mongo.connection import MongoConnections, MongoSession, translated_errors
from fhirstore.store.mongo.index_builds import IndexBuilder, report
from fhirstore.store.mongo.indexes import MongoIndex, create_for_type
from fhirstore.store.mongo.joins import has_joins
from fhirstore.store.mongo.layout import META, OWN, PROBE, STORE, MongoLayout, is_type
from fhirstore.store.mongo.schema import Transactions, database_exists, open_database
from fhirstore.store.mongo.search import MongoSearch
from fhirstore.store.mongo.transaction import transact
from fhirstore.store.mongo.write import MongoCommit, prepare_commit
from fhirstore.store.protocol import Extractor, IndexInfo, ResultPage
from fhirstore.store.transfer import TransferredVersion

_REMOVED = "the database has been removed; restart the server"


class MongoStore:
    """A store in the database that the MongoDB URL names, `fhirstore` if it names none.

    write_timeout_s: seconds after which a write that has not succeeded raises Unavailable. search_timeout_s: seconds
    after which a search raises TimedOut. transactions: see the setting `mongo_transactions`."""

    def __init__(
        self,
        url: str,
        *,
        write_timeout_s: float = 15.0,
        search_timeout_s: float = 30.0,
        transactions: Transactions = "auto",
    ):
        self._connections = MongoConnections(url, write_timeout_s, max(write_timeout_s, search_timeout_s))
        self._write_timeout_s, self._search_timeout_s = write_timeout_s, search_timeout_s
        self._transactions = transactions
        self._layout = MongoLayout("", {}, {})
        self._missing: list[tuple[str, MongoIndex]] = []

    @classmethod
    def from_url(cls, url: str, settings: Settings) -> MongoStore:
        """The engine for mongodb:// and mongodb+srv:// URLs. Invalid URLs raise StartupError on first use."""
        return cls(
            url,
            write_timeout_s=settings.write_timeout_s,
            search_timeout_s=settings.search_timeout_s,
            transactions=settings.mongo_transactions,
        )

    def open(self, schema: Schema) -> None:
        try:
            self._layout, self._missing = open_database(
                self._connections, schema, self._write_timeout_s, self._transactions
            )
        finally:
            self._connections.close()  # clients must not be shared across a fork

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        with translated_errors(), self._connections.snapshot():
            yield

    def snapshot(self) -> AbstractContextManager[None]:
        return self._snapshot()

    def deadline(self, at: float | None) -> AbstractContextManager[None]:
        return self._connections.deadline(at)

    @contextmanager
    def _searching(self, several: bool = False) -> Iterator[MongoSession]:
        """A session for one search. several: its commands see one state."""
        with translated_errors(), self._connections.snapshot() if several else nullcontext():
            yield self._connections.session(self._search_timeout_s)

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        with self._searching() as session:
            return reads.read_one(session.at_primary(), type, id, version)

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        entries = prepare_commit(self._layout, changes, records)
        self._start_index_builds()
        with translated_errors():
            for type in {change.type for change in changes}:
                self._ensure_collections(type)
            process = self._connections.process()
            stored = transact(
                self._connections,
                self._write_timeout_s,
                lambda session: MongoCommit(session, self._layout, process.latest).run(
                    changes, entries, guards, records
                ),
            )
            process.record_commit(stored[0].updated if stored else 0)
            return stored

    def _start_index_builds(self) -> None:
        """Starts to build missing indexes in this process. `open` does not, because its process may only fork."""
        if self._missing:
            self._connections.process().start_in_background(lambda db: IndexBuilder(self._missing).start(db))

    def _ensure_collections(self, type: str) -> None:
        """Creates the collections and indexes of the type, which cannot be done inside a transaction."""
        process = self._connections.process()
        if type in process.ready:
            return
        if not is_type(type):
            raise ValueError(f"{type!r} is not the name of a resource type")
        try:
            create_for_type(process.db, self._layout, type)
        except StartupError as problem:
            raise Unavailable(text_of(problem)) from problem
        process.ready.add(type)

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        self._start_index_builds()
        with self._searching(has_joins(where)) as session:
            return MongoSearch(session, self._layout, type, where).page(sort, after, limit)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        self._start_index_builds()
        with self._searching(has_joins(where)) as session:
            return MongoSearch(session, self._layout, type, where).count(at_most)

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        with self._searching() as session:
            return reads.read_many(session, refs)

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        with self._searching() as session:
            return reads.references(session, self._layout, sources, param)

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        with self._searching() as session:
            if type is not None and id is not None:
                return histories.resource_history(session.at_primary(), type, id, since, until, after, limit)
            return histories.history(session.at_primary(), type, since, until, after, limit)

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        with self._searching(several=True) as session:
            return histories.history_count(session, type, id, since, until)

    def unique_key_owner(self, key: str) -> str | None:
        with self._searching() as session:
            return reads.unique_key_owner(session, key)

    def get_record(self, kind: str, key: str) -> Record | None:
        with self._searching() as session:
            return reads.get_record(session, kind, key)

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        with self._searching() as session:
            return reads.records(session, kind, after, limit)

    def pending_parameters(self) -> frozenset[tuple[str, str]]:
        with self._searching() as session:
            return reindexing.pending(session)

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        with translated_errors():
            timeout_s = max(self._write_timeout_s, self._search_timeout_s)
            return reindexing.reindex(self._connections, self._layout, extract, progress, timeout_s)

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        with self._searching() as session:
            names = sorted(session.db.list_collection_names()) if type is None else [type]
        for name in names:
            after = ""
            while is_type(name) and name not in OWN:
                with self._searching() as session:
                    rows = reads.batch(session, name, after)
                if not rows:
                    break
                yield from rows
                after = rows[-1].id

    def indexes(self) -> list[IndexInfo]:
        with translated_errors():
            return list(report(self._connections.process().db, self._layout))

    def drop_unused_indexes(self) -> list[IndexInfo]:
        dropped = [index for index in self.indexes() if index.state == "unused"]
        with translated_errors():
            for index in dropped:
                self._connections.process().db[index.collection].drop_index(index.name)
        return dropped

    def secret(self) -> bytes:
        with self._searching() as session:
            store = session.at_primary().one(META, {"_id": STORE}, {"secret": 1})
        if store is None:
            raise Unavailable(_REMOVED)
        return bytes(store["secret"])

    def probe(self) -> int:
        """Writes to a majority of the nodes. The driver retries once if the connection is dead."""
        self._start_index_builds()
        limit = WriteConcern("majority", wtimeout=int(self._write_timeout_s * 1000))
        with translated_errors():
            session = self._connections.session(self._write_timeout_s)
            newest = newest_time(session.at_primary())
            if newest is None:
                raise Unavailable(_REMOVED)
            meta = session.db.get_collection(META, write_concern=limit)
            meta.update_one({"_id": PROBE}, {"$set": {"at": time.time_ns() // 1000}}, upsert=True)
        return newest

    def exists(self) -> bool:
        return database_exists(self._connections, self._write_timeout_s, self._transactions)

    def versions(self, after: list[Any] | None = None) -> Iterator[TransferredVersion]:
        with translated_errors():
            yield from transfer.versions(self._connections, after, self._search_timeout_s)

    def record_kinds(self) -> list[str]:
        with self._searching() as session:
            return list(transfer.record_kinds(session))

    def restore(self, versions: Sequence[TransferredVersion], records: Sequence[Record] = ()) -> None:
        entries = transfer.prepare_versions(self._layout, versions)
        with translated_errors():
            for type in {version.stored.type for version in versions}:
                self._ensure_collections(type)
            transact(
                self._connections,
                self._write_timeout_s,
                lambda session: transfer.MongoRestore(session, self._layout, 0).restore(versions, entries, records),
            )

    def set_secret(self, secret: bytes) -> None:
        with translated_errors():
            self._connections.process().db[META].update_one({"_id": STORE}, {"$set": {"secret": secret}})
