"""The SQLite engine. The protocol is documented in `store.protocol`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fhirstore.errors import StartupError
from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.settings import Settings
from fhirstore.store.protocol import Extractor, IndexInfo, ResultPage
from fhirstore.store.sqlite import history as histories
from fhirstore.store.sqlite import read as reads
from fhirstore.store.sqlite import reindex as reindexing
from fhirstore.store.sqlite import transfer
from fhirstore.store.sqlite.connection import SqliteConnections, translated
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.resource_cache import ResourceCache, reference_targets
from fhirstore.store.sqlite.schema import open_database
from fhirstore.store.sqlite.search import SqliteSearch
from fhirstore.store.sqlite.write import SqliteCommit, prepare_rows, unique_key_owner
from fhirstore.store.transfer import TransferredVersion


class SqliteStore:
    """A store in the file `path`.

    write_timeout_s: seconds after which a write that cannot begin raises Unavailable. search_timeout_s: seconds after
    which a search raises TimedOut. cache_bytes: memory for recently read resources, per process."""

    def __init__(
        self, path: str, *, write_timeout_s: float = 15.0, search_timeout_s: float = 30.0, cache_bytes: int = 0
    ):
        self._connections = SqliteConnections(path, write_timeout_s)
        self._search_timeout_s = search_timeout_s
        self._cache_bytes = cache_bytes
        self._resource_cache = ResourceCache(cache_bytes)
        self._layout = SqliteLayout("", {}, {})

    @classmethod
    def from_url(cls, url: str, settings: Settings) -> SqliteStore:
        """The engine for sqlite:///PATH: three slashes and a relative path, or four for an absolute path. Raises
        StartupError for other URLs."""
        _, _, path = url.partition("://")
        if not path.startswith("/") or path == "/":
            raise StartupError(f"store: {url!r} names no file. Use sqlite:///PATH (sqlite:////PATH if absolute)")
        return cls(
            path[1:],
            write_timeout_s=settings.write_timeout_s,
            search_timeout_s=settings.search_timeout_s,
            cache_bytes=settings.cache_bytes,
        )

    def open(self, schema: Schema) -> None:
        try:
            self._layout = open_database(self._connections.path, self._connections, schema)
        finally:
            self._connections.close()  # connections must not be shared across a fork

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        with self._connections.snapshot():
            yield

    def snapshot(self) -> AbstractContextManager[None]:
        return self._snapshot()

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        try:
            return reads.read_one(self._connections.session(), type, id, version)
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        rows = prepare_rows(self._layout, changes)
        with self._connections.writing() as session:
            return SqliteCommit(session, self._layout).run(changes, rows, guards, records)

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        with self._connections.searching(self._search_timeout_s), self._connections.snapshot() as session:
            return SqliteSearch(session, self._layout, type, where).page(self._resource_cache, sort, after, limit)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        with self._connections.searching(self._search_timeout_s), self._connections.snapshot() as session:
            return SqliteSearch(session, self._layout, type, where).count(at_most)

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        with self._connections.searching(self._search_timeout_s) as session:
            return reads.read_many(session, self._resource_cache, refs)

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        with self._connections.searching(self._search_timeout_s) as session:
            p = self._layout.param(sources[0].type, param).p if sources else 0
            return list(reference_targets(session, sources, p))

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        with self._connections.searching(self._search_timeout_s) as session:
            if type is not None and id is not None:
                return histories.resource_history(session, type, id, since, until, after, limit)
            return histories.history(session, type, since, until, after, limit)

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        with self._connections.searching(self._search_timeout_s) as session:
            return histories.history_count(session, type, id, since, until)

    def unique_key_owner(self, key: str) -> str | None:
        with self._connections.searching(self._search_timeout_s) as session:
            return unique_key_owner(session, key)

    def get_record(self, kind: str, key: str) -> Record | None:
        try:
            return reads.get_record(self._connections.session(), kind, key)
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        try:
            return reads.records(self._connections.session(), kind, after, limit)
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def pending_parameters(self) -> frozenset[tuple[str, str]]:
        with self._connections.searching(self._search_timeout_s) as session:
            return reindexing.pending(session)

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        try:
            return reindexing.reindex(self._connections, self._layout, extract, progress)
        except sqlite3.Error as problem:
            raise translated(problem) from problem
        finally:
            self._resource_cache = ResourceCache(self._cache_bytes)  # the cache holds the reference targets of versions

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        try:
            session = self._connections.session
            for one in [type] if type is not None else reads.types(session()):
                after = ""
                while rows := reads.batch(session(), one, after):
                    yield from rows
                    after = rows[-1].id
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def indexes(self) -> list[IndexInfo]:
        """The indexes of the file. They serve all parameters, and change only with the format of the file."""
        sql = (
            "SELECT m.tbl_name, m.name, group_concat(i.name) FROM sqlite_master m, pragma_index_info(m.name) i "
            "WHERE m.type='index' GROUP BY m.name ORDER BY m.tbl_name, m.name"
        )
        with self._connections.searching(self._search_timeout_s) as session:
            rows = session.execute(sql).fetchall()
        return [IndexInfo(table, name, tuple(columns.split(",")), "present") for table, name, columns in rows]

    def drop_unused_indexes(self) -> list[IndexInfo]:
        return []

    def secret(self) -> bytes:
        with self._connections.searching(self._search_timeout_s) as session:
            found: bytes = session.execute("SELECT value FROM meta WHERE name='secret'").fetchone()[0]
            return found

    def probe(self) -> None:
        with self._connections.writing() as session:
            session.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (time.time_ns(),))

    def exists(self) -> bool:
        return transfer.exists(self._connections.path, self._connections)

    def versions(self, after: list[Any] | None = None) -> Iterator[TransferredVersion]:
        try:
            yield from transfer.versions(self._connections, after[0] if after else -1)
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def record_kinds(self) -> list[str]:
        with self._connections.searching(self._search_timeout_s) as session:
            return list(transfer.record_kinds(session))

    def restore(self, versions: Sequence[TransferredVersion], records: Sequence[Record] = ()) -> None:
        rows = [self._layout.rows(version.stored.type, version.index) for version in versions]
        with self._connections.writing() as session:
            transfer.SqliteRestore(session, self._layout).restore(versions, rows, records)

    def set_secret(self, secret: bytes) -> None:
        with self._connections.writing() as session:
            session.execute("UPDATE meta SET value=? WHERE name='secret'", (secret,))
