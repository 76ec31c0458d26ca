"""The embedded engine: one SQLite file, several processes, no server.

`schema` holds the tables, `layout` how entries lie in them; `compile`, `leaves`, `simplify`, `plan` and `find` are
the searches; `write`, `read`, `reindex` and `transfer` the rest; `connection` threads, processes and locks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import Schema
from fhirstore.model.stored import (
    Change,
    Guard,
    Record,
    RecordGuard,
    Stored,
)
from fhirstore.store.protocol import Extractor, IndexInfo, ResultPage
from fhirstore.store.sqlite import read as reads
from fhirstore.store.sqlite import reindex as reindexing
from fhirstore.store.sqlite import transfer
from fhirstore.store.sqlite.connection import Connections, translated
from fhirstore.store.sqlite.find import Search
from fhirstore.store.sqlite.layout import Layout
from fhirstore.store.sqlite.recent import Recent, targets
from fhirstore.store.sqlite.schema import open_database
from fhirstore.store.sqlite.write import Commit, prepared, unique_key_owner
from fhirstore.store.transfer import Version

__all__ = ["SqliteStore"]


class SqliteStore:
    """A store in the file `path`, see `store.protocol.Store` and `store.transfer`. Times out after seconds: writes that
    cannot begin (Unavailable), searches (TimedOut). cache_bytes: of resources kept in memory."""

    def __init__(
        self, path: str, *, write_timeout_s: float = 15.0, search_timeout_s: float = 30.0, cache_bytes: int = 0
    ):
        self._connections = Connections(path, write_timeout_s)
        self._search_timeout_s = search_timeout_s
        self._cache_bytes = cache_bytes
        self._recent = Recent(cache_bytes)
        self._layout = Layout("", {}, {})

    def open(self, schema: Schema) -> None:
        try:
            self._layout = open_database(self._connections.path, self._connections, schema)
        finally:
            self._connections.close()  # no connection may cross a fork

    def close(self) -> None:
        self._connections.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._connections.snapshot():
            yield

    def snapshot(self) -> AbstractContextManager[None]:
        return self._reading()

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        try:
            return reads.read_one(self._connections.session(), type, id, version)
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        rows = prepared(self._layout, changes)
        with self._connections.writing() as session:
            return Commit(session, self._layout).run(changes, rows, guards, records)

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        with self._connections.searching(self._search_timeout_s), self._connections.snapshot() as session:
            return Search(session, self._layout, type, where).page(self._recent, sort, after, limit)

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        with self._connections.searching(self._search_timeout_s), self._connections.snapshot() as session:
            return Search(session, self._layout, type, where).count(at_most)

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        with self._connections.searching(self._search_timeout_s) as session:
            return reads.read_many(session, self._recent, refs)

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        with self._connections.searching(self._search_timeout_s) as session:
            p = self._layout.param(sources[0].type, param).p if sources else 0
            return list(targets(session, sources, p))

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        most = -1 if limit is None else limit
        with self._connections.searching(self._search_timeout_s) as session:
            if type is not None and id is not None:
                return reads.history_of(session, type, id, since, until, after, most)
            return reads.history(session, type, since, until, after, most)

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int:
        with self._connections.searching(self._search_timeout_s) as session:
            return reads.history_count(session, type, id, since, until)

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

    def pending(self) -> frozenset[tuple[str, str]]:
        with self._connections.searching(self._search_timeout_s) as session:
            return reindexing.pending(session)

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        try:
            return reindexing.reindex(self._connections, self._layout, extract, progress)
        except sqlite3.Error as problem:
            raise translated(problem) from problem
        finally:
            self._recent = Recent(self._cache_bytes)  # other targets of the same version

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
        """Those of the file: they serve all parameters alike, and come and go with the format of the file."""
        sql = (
            "SELECT m.tbl_name, m.name, group_concat(i.name) FROM sqlite_master m, pragma_index_info(m.name) i "
            "WHERE m.type='index' GROUP BY m.name ORDER BY m.tbl_name, m.name"
        )
        with self._connections.searching(self._search_timeout_s) as session:
            rows = session.execute(sql).fetchall()
        return [IndexInfo(table, name, tuple(columns.split(",")), "present") for table, name, columns in rows]

    def drop_unused(self) -> list[IndexInfo]:
        return []

    def secret(self) -> bytes:
        with self._connections.searching(self._search_timeout_s) as session:
            found: bytes = session.execute("SELECT value FROM meta WHERE name='secret'").fetchone()[0]
            return found

    def health(self) -> None:
        with self._connections.writing() as session:
            session.execute("SELECT 1 FROM docs LIMIT 1").fetchone()

    def exists(self) -> bool:
        return transfer.exists(self._connections.path, self._connections)

    def versions(self, after: list[Any] | None = None) -> Iterator[Version]:
        try:
            yield from transfer.versions(self._connections, after[0] if after else -1)
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    def record_kinds(self) -> list[str]:
        with self._connections.searching(self._search_timeout_s) as session:
            return list(transfer.record_kinds(session))

    def restore(self, versions: Sequence[Version], records: Sequence[Record] = ()) -> None:
        rows = [self._layout.rows(version.stored.type, version.index) for version in versions]
        with self._connections.writing() as session:
            transfer.Restore(session, self._layout).take(versions, rows, records)

    def set_secret(self, secret: bytes) -> None:
        with self._connections.writing() as session:
            session.execute("UPDATE meta SET value=? WHERE name='secret'", (secret,))
