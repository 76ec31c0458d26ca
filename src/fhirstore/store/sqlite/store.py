"""The SQLite engine. The protocol is documented in `store.protocol`."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar

from fhirstore.errors import StartupError
from fhirstore.model.conditions import Condition, Sort
from fhirstore.model.indexing import Schema
from fhirstore.model.messages import Message
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.settings import Settings
from fhirstore.store.errors import Unavailable
from fhirstore.store.protocol import Extractor, IndexInfo, ResultPage
from fhirstore.store.sqlite import history as histories
from fhirstore.store.sqlite import read as reads
from fhirstore.store.sqlite import reindex as reindexing
from fhirstore.store.sqlite import transfer
from fhirstore.store.sqlite.connection import NEVER, SqliteConnections, SqliteSession, timed_out
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.resource_cache import ResourceCache, read_many, reference_targets
from fhirstore.store.sqlite.schema import open_database
from fhirstore.store.sqlite.search import SqliteSearch
from fhirstore.store.sqlite.walk import OrderWalk
from fhirstore.store.sqlite.write import SqliteCommit, SqliteWriter, index_rows, prepare_rows, unique_key_owner
from fhirstore.store.transfer import TransferredVersion

P = ParamSpec("P")
T = TypeVar("T")

_MIN_FREE = 4 * 2**20  # bytes, about the size of a write-ahead log


def with_session(
    method: Callable[Concatenate[SqliteStore, SqliteSession, P], T],
) -> Callable[Concatenate[SqliteStore, P], T]:
    """Passes the session of the thread to the method, and translates errors of SQLite.

    The method raises TimedOut after `search_timeout_s` seconds, or at the deadline of the thread."""

    @wraps(method)
    def call(store: SqliteStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        local = store.connections.local
        session = local.session or store.connections.session()
        now = monotonic()
        if now > local.deadline:
            raise timed_out()
        session.timer.deadline = min(local.deadline, now + store.search_timeout_s)
        try:
            return method(store, session, *args, **kwargs)
        except sqlite3.Error as problem:
            raise store.connections.translated(problem) from problem

    return call


class Snapshot:
    """A transaction that sees one state. A nested one is part of the outer one."""

    __slots__ = ("_connections", "_nested", "_session")

    def __init__(self, connections: SqliteConnections, session: SqliteSession):
        self._connections, self._session = connections, session
        self._nested = session.conn.in_transaction

    def __enter__(self) -> None:
        if not self._nested:
            self._run("BEGIN")

    def __exit__(self, *problem: object) -> None:
        if not self._nested and self._session.conn.in_transaction:
            self._session.timer.deadline = NEVER
            self._run("COMMIT")

    def _run(self, sql: str) -> None:
        try:
            self._session.execute(sql)
        except sqlite3.Error as problem:
            raise self._connections.translated(problem) from problem


class SqliteStore:
    """A store in the file `path`.

    write_timeout_s: seconds after which a write that cannot begin raises Unavailable. search_timeout_s: seconds after
    which a search raises TimedOut. cache_bytes: memory for recently read resources, per process."""

    def __init__(
        self, path: str, *, write_timeout_s: float = 15.0, search_timeout_s: float = 30.0, cache_bytes: int = 0
    ):
        self.connections = SqliteConnections(path, min(write_timeout_s, 5.0))
        self.search_timeout_s = search_timeout_s
        self._writer = SqliteWriter(self.connections, write_timeout_s)
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
        self.close()
        self.connections.file = self.connections.damage = None
        try:
            self._layout = open_database(self.connections.path, self._writer, schema)
        finally:
            self.close()  # connections must not be shared across a fork

    def close(self) -> None:
        self.connections.close()
        self._writer.close()

    @with_session
    def snapshot(self, session: SqliteSession) -> AbstractContextManager[None]:
        return Snapshot(self.connections, session)

    @contextmanager
    def deadline(self, at: float | None) -> Iterator[None]:
        local = self.connections.local
        outer = local.deadline
        local.deadline = outer if at is None else min(outer, at)
        try:
            yield
        finally:
            local.deadline = outer

    @with_session
    def read(self, session: SqliteSession, type: str, id: str, version: int | None = None) -> Stored | None:
        row = session.execute(reads.CURRENT, (type, id)).fetchone()
        if row is not None and (version is None or row[0] == version):
            return Stored(type, id, row[0], row[1], False, *row[2:])
        return reads.old_version(session, type, id, version)

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        rows = prepare_rows(self._layout, changes)
        with self._writer.transaction() as session:
            commit = SqliteCommit(session, self._layout, self.connections.local.deadline)
            return commit.run(changes, rows, guards, records)

    @with_session
    def find(
        self,
        session: SqliteSession,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        with Snapshot(self.connections, session):
            search = SqliteSearch(session, self._layout, type, where)
            page = search.page(self._resource_cache, sort, after, limit)
            return page or OrderWalk(search).page(self._resource_cache, sort, after, limit)

    @with_session
    def count(self, session: SqliteSession, type: str, where: Condition, at_most: int | None = None) -> int:
        with Snapshot(self.connections, session):
            return SqliteSearch(session, self._layout, type, where).count(at_most)

    @with_session
    def read_many(self, session: SqliteSession, refs: Iterable[str]) -> list[Stored]:
        return read_many(session, self._resource_cache, refs)

    @with_session
    def references(self, session: SqliteSession, sources: Sequence[Stored], param: str) -> list[str]:
        if not sources:
            return []
        declared = self._layout.params.get(sources[0].type, {}).get(param)
        p = (declared or self._layout.param(sources[0].type, param)).p
        return list(reference_targets(session, sources, p))

    @with_session
    def history(
        self,
        session: SqliteSession,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> ResultPage:
        if type is not None and id is not None:
            return histories.resource_history(session, type, id, since, until, after, limit)
        return histories.history(session, type, since, until, after, limit)

    @with_session
    def history_count(
        self,
        session: SqliteSession,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> int:
        return histories.history_count(session, type, id, since, until)

    @with_session
    def unique_key_owner(self, session: SqliteSession, key: str) -> str | None:
        return unique_key_owner(session, key)

    @with_session
    def get_record(self, session: SqliteSession, kind: str, key: str) -> Record | None:
        row = session.execute("SELECT value FROM records WHERE kind=? AND key=?", (kind, key)).fetchone()
        return None if row is None else Record(kind, key, row[0])

    @with_session
    def records(self, session: SqliteSession, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        sql = "SELECT key, value FROM records WHERE kind=? AND key>? ORDER BY key LIMIT ?"
        return [Record(kind, key, value) for key, value in session.execute(sql, (kind, after, limit))]

    @with_session
    def pending_parameters(self, session: SqliteSession) -> frozenset[tuple[str, str]]:
        return frozenset(session.execute(reindexing.PENDING).fetchall())

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        try:
            return reindexing.reindex(self.connections, self._writer, self._layout, extract, progress)
        except sqlite3.Error as problem:
            raise self.connections.translated(problem) from problem
        finally:
            self._resource_cache = ResourceCache(self._cache_bytes)  # the cache holds the reference targets of versions

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        try:
            session = self.connections.session
            for one in [type] if type is not None else reads.types(session()):
                after = ""
                while rows := reads.batch(session(), one, after):
                    yield from rows
                    after = rows[-1].id
        except sqlite3.Error as problem:
            raise self.connections.translated(problem) from problem

    @with_session
    def indexes(self, session: SqliteSession) -> list[IndexInfo]:
        """The indexes of the file. They serve all parameters, and change only with the format of the file."""
        sql = (
            "SELECT m.tbl_name, m.name, group_concat(i.name) FROM sqlite_master m, pragma_index_info(m.name) i "
            "WHERE m.type='index' GROUP BY m.name ORDER BY m.tbl_name, m.name"
        )
        rows = session.execute(sql).fetchall()
        return [IndexInfo(table, name, tuple(columns.split(",")), "present") for table, name, columns in rows]

    def drop_unused_indexes(self) -> list[IndexInfo]:
        return []

    @with_session
    def secret(self, session: SqliteSession) -> bytes:
        found: bytes = session.execute("SELECT value FROM meta WHERE name='secret'").fetchone()[0]
        return found

    def probe(self) -> int:
        """A small write may still succeed where a larger one does not, so the probe asks for some free space, too."""
        if self.connections.damage is not None:
            raise Unavailable(Message("the database is damaged: {text}", text=self.connections.damage))
        disk = os.statvfs(Path(self.connections.path).absolute().parent)
        if disk.f_blocks and disk.f_bavail * disk.f_frsize < _MIN_FREE:
            raise self.connections.unavailable(
                Message("less than {size} MiB of the disk are free", size=_MIN_FREE // 2**20)
            )
        with self._writer.transaction() as session:
            session.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (time.time_ns(),))
            return histories.newest(session)

    def exists(self) -> bool:
        return transfer.exists(self.connections)

    def versions(self, after: list[Any] | None = None) -> Iterator[TransferredVersion]:
        try:
            yield from transfer.versions(self.connections, after[0] if after else -1)
        except sqlite3.Error as problem:
            raise self.connections.translated(problem) from problem

    @with_session
    def record_kinds(self, session: SqliteSession) -> list[str]:
        return list(transfer.record_kinds(session))

    def restore(self, versions: Sequence[TransferredVersion], records: Sequence[Record] = ()) -> None:
        rows = [index_rows(self._layout, version.stored.type, version.index) for version in versions]
        with self._writer.transaction() as session:
            transfer.SqliteRestore(session, self._layout).restore(versions, rows, records)

    def set_secret(self, secret: bytes) -> None:
        with self._writer.transaction() as session:
            session.execute("UPDATE meta SET value=? WHERE name='secret'", (secret,))
