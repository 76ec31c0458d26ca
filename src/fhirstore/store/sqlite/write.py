"""Writes: one writer at a time, each commit in one transaction.

SQLite lets one process write at a time and makes the others poll. With lock files, writers wait for one another outside
the database, and a write transaction that has begun never waits.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fhirstore.model.indexing import IndexEntries, IndexEntry
from fhirstore.model.messages import Message
from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.store.errors import DuplicateKey, Unavailable
from fhirstore.store.protocol import check_distinct, check_guard, check_record_guard, next_version
from fhirstore.store.schema_rules import SCHEMA_CHANGED, check_entries
from fhirstore.store.sqlite.connection import NEVER, SqliteConnections, SqliteSession
from fhirstore.store.sqlite.layout import INSTANT, MISSING, WIDTHS, SqliteLayout, packed
from fhirstore.store.sqlite.search import SqliteSearch

Row = tuple[int, Any, Any]  # p, k, x

COUNTER = 20  # bits of log.seq that count versions within one millisecond


class WriterLock:
    """The write lock of the database: one thread of one process holds it. Threads of a process queue first."""

    def __init__(self, path: str, timeout_s: float):
        self.pid = os.getpid()
        self._timeout_s = timeout_s
        self._threads = threading.Lock()
        # The turn makes it fair: the next writer holds it, so the last writer queues behind that one.
        self._turn = os.open(path + "-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = os.open(path + "-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> None:
        """Raises Unavailable if others hold the lock longer than the timeout."""
        deadline = time.monotonic() + self._timeout_s
        if not self._threads.acquire(timeout=self._timeout_s):
            raise self._late()
        try:
            self._wait(self._turn, deadline)
            try:
                self._wait(self._lock, deadline)
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)
        except BaseException:
            self._threads.release()
            raise

    def release(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        os.close(self._turn)
        os.close(self._lock)

    def _wait(self, fd: int, deadline: float) -> None:
        pause = 0.00002
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise self._late() from None
            time.sleep(pause)
            pause = min(pause * 1.1, 0.0005)

    def _late(self) -> Unavailable:
        return Unavailable(
            Message(
                "other writers kept the store locked for more than {timeout_s} s (write_timeout_s)",
                timeout_s=self._timeout_s,
            )
        )


class SqliteWriter:
    """The write transactions of this process. A lock that a fork inherited is replaced."""

    def __init__(self, connections: SqliteConnections, timeout_s: float):
        self._connections, self._timeout_s = connections, timeout_s
        self._creating = threading.Lock()
        self._lock: WriterLock | None = None

    @contextmanager
    def transaction(self) -> Iterator[SqliteSession]:
        """Opens a write transaction, committed at the end, rolled back on any error. Raises Unavailable."""
        session = self._connections.local.session or self._connections.session()
        session.timer.deadline = NEVER
        if session.conn.in_transaction:
            raise ValueError("a commit cannot be part of snapshot()")
        lock = self._lock
        if lock is None or lock.pid != os.getpid():
            lock = self._new_lock()
        lock.acquire()
        try:
            session.execute("BEGIN IMMEDIATE")
            try:
                self._check_files(session)
                yield session
                session.execute("COMMIT")
            except BaseException:
                session.timer.deadline = NEVER
                if session.conn.in_transaction:
                    session.execute("ROLLBACK")
                raise
        except sqlite3.Error as problem:
            raise self._connections.translated(problem) from problem
        finally:
            lock.release()

    def _check_files(self, session: SqliteSession) -> None:
        """Raises Unavailable if the database or its write-ahead log was removed or replaced: the transaction would be
        lost with the removed file. Inside a transaction the write-ahead log exists."""
        path = self._connections.path
        try:
            file, wal = os.stat(path), os.stat(path + "-wal").st_ino
        except OSError as problem:
            raise self._connections.removed() from problem
        if (file.st_dev, file.st_ino) != self._connections.file or session.wal not in (None, wal):
            raise self._connections.removed()
        session.wal = wal

    def _new_lock(self) -> WriterLock:
        path = self._connections.path
        with self._creating:
            if self._lock is None or self._lock.pid != os.getpid():
                try:
                    self._lock = WriterLock(path, self._timeout_s)
                except OSError as problem:
                    text = Message(
                        "the lock files of {path} cannot be opened: {reason}", path=path, reason=problem.strerror
                    )
                    raise Unavailable(text) from problem
            return self._lock

    def close(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None and lock.pid == os.getpid():
            lock.close()


def check_schema(session: SqliteSession, layout: SqliteLayout) -> None:
    """Raises Unavailable if another process has opened the database with another schema: the index entries of this
    process would be incomplete."""
    if session.execute("SELECT value FROM meta WHERE name='schema'").fetchone() != (layout.stamp,):
        raise Unavailable(SCHEMA_CHANGED)


def index_rows(layout: SqliteLayout, type: str, index: IndexEntries | None) -> set[Row]:
    """Returns the rows of `ix`, without r, for one resource. Raises ValueError for entries that the schema does not
    allow."""
    rows: set[Row] = set()
    if not index:
        return rows
    params = layout.params.get(type, {})
    for code, entries in index.items():
        if not entries:
            continue
        p, kind, single = params.get(code) or layout.param(type, code)
        if single and len(entries) > 1:
            check_entries(type, code, entries, single)
        for entry in entries:
            if kind == "token":
                rows.add((p, entry[1], entry[0]))
            elif kind == "date":
                _add_date(rows, p, entry)
            elif kind == "string":
                rows.add((p, entry[0], entry[1]))
            elif kind == "quantity":
                rows.add((p, entry[0], packed(entry[1], entry[2], entry[3])))
            else:
                rows.add((p, entry[0], ""))
    return rows


def _add_date(rows: set[Row], p: int, entry: IndexEntry) -> None:
    low, high = entry
    rows.add((p, low, high))
    width = high - low
    if width > INSTANT:
        offset = next(i for i, most in enumerate(WIDTHS, 1) if most is None or width <= most)
        rows.add((p + offset, high, low))


def _compound_rows(layout: SqliteLayout, type: str, rows: set[Row]) -> list[tuple[Any, ...]]:
    """Returns the rows (c, k1, k2, k3, k4) of `cx` for a resource with these rows of `ix`."""
    if not rows:
        return []
    keys = {p: k for p, k, _ in rows}
    return [
        (index.c, *(keys.get(p, MISSING) for p in index.numbers), *("",) * (4 - len(index.numbers)))
        for index in layout.compounds[type]
        if any(p in keys for p in index.numbers)
    ]


def write_rows(session: SqliteSession, layout: SqliteLayout, type: str, rid: int, rows: set[Row], fresh: bool) -> None:
    """Replaces the index entries of the resource with `rows`. fresh: it has no entries yet."""
    old: set[Row] = set()
    if not fresh:
        old = set(session.execute("SELECT p, k, x FROM ix INDEXED BY ix_r WHERE r=?", (rid,)))
        if old == rows:
            return
        if removed := old - rows:
            session.conn.executemany(
                "DELETE FROM ix WHERE p=? AND k=? AND x=? AND r=?", [(*row, rid) for row in removed]
            )
    new = sorted(rows - old) if old else sorted(rows)
    session.conn.executemany("INSERT INTO ix VALUES (?,?,?,?)", [(*row, rid) for row in new])
    if type in layout.compounds:
        before, after = _compound_rows(layout, type, old), _compound_rows(layout, type, rows)
        if before != after:
            session.conn.executemany(
                "DELETE FROM cx WHERE c=? AND k1=? AND k2=? AND k3=? AND k4=? AND r=?", [(*row, rid) for row in before]
            )
            session.conn.executemany("INSERT INTO cx VALUES (?,?,?,?,?,?)", [(*row, rid) for row in after])


def prepare_rows(layout: SqliteLayout, changes: Sequence[Change]) -> list[set[Row]]:
    """Returns the index rows of each change. Raises ValueError for changes that no engine stores."""
    check_distinct(changes)
    return [index_rows(layout, change.type, change.index) for change in changes]


def unique_key_owner(session: SqliteSession, key: str) -> str | None:
    """See `AdministrationStore.unique_key_owner`."""
    sql = "SELECT d.type||'/'||d.id FROM uniq u CROSS JOIN docs d ON d.rid=u.r WHERE u.key=?"
    row = session.execute(sql, (key,)).fetchone()
    return None if row is None else str(row[0])


class SqliteCommit:
    """One commit, inside its transaction. deadline: time.monotonic() seconds at which the guards raise TimedOut."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout, deadline: float = NEVER):
        self._deadline = deadline
        self._session = session
        self._execute = session.execute
        self._layout = layout

    def run(
        self,
        changes: Sequence[Change],
        rows: Sequence[set[Row]],
        guards: Sequence[Guard | RecordGuard],
        records: Sequence[Record],
    ) -> list[Stored]:
        if changes:
            check_schema(self._session, self._layout)
        if guards:
            self._session.timer.deadline = self._deadline
            for guard in guards:
                self._guard(guard)
            self._session.timer.deadline = NEVER
        last = self._execute("SELECT seq, high FROM log ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0)
        self._seq, self._high = max(int(time.time() * 1000) << COUNTER, last[0] + 1), last[1]
        self._updated = (self._seq >> COUNTER) * 1000
        stored = [self._change(change, entries) for change, entries in zip(changes, rows, strict=True)]
        for change, one in zip(changes, stored, strict=True):
            for key in dict.fromkeys(change.unique):
                self._claim(key, one)
        for record in records:
            self._record(record)
        return stored

    def _guard(self, guard: Guard | RecordGuard) -> None:
        if isinstance(guard, RecordGuard):
            sql = "SELECT value FROM records WHERE kind=? AND key=?"
            row = self._execute(sql, (guard.kind, guard.key)).fetchone()
            return check_record_guard(guard, row[0] if row else None)
        search = SqliteSearch(self._session, self._layout, guard.type, guard.where)
        return check_guard(guard, search.ids(len(guard.ids) + 1))

    def _change(self, change: Change, rows: set[Row]) -> Stored:
        type, id = change.type, change.id
        row = self._execute("SELECT rid, version FROM docs WHERE type=? AND id=?", (type, id)).fetchone()
        if row is None:
            rid = None
            actual: int | None = self._execute(
                "SELECT max(version) FROM versions WHERE type=? AND id=?", (type, id)
            ).fetchone()[0]
        else:
            rid, actual = row
        version = next_version(change, actual)
        if rid is not None:
            self._supersede(rid, change)
        if change.deleted:
            self._execute(
                "INSERT INTO versions VALUES (?,?,?,?,1,?,x'',x'')", (type, id, version, self._updated, change.method)
            )
            if rid is not None:
                self._execute("DELETE FROM docs WHERE rid=?", (rid,))
                write_rows(self._session, self._layout, type, rid, set(), False)
            rid = None
        else:
            rid = self._store(rid, change, version, rows)
        self._execute("INSERT INTO log VALUES (?,?,?,?,?)", (self._seq, type, id, version, self._high))
        self._seq += 1
        meta, body = (b"", b"") if change.deleted else (change.meta, change.body)
        return Stored(type, id, version, self._updated, change.deleted, change.method, meta, body, rid)

    def _supersede(self, rid: int, change: Change) -> None:
        """Moves the current version to the old ones and releases its unique keys."""
        self._execute(
            "INSERT INTO versions SELECT type, id, version, updated, 0, method, meta, body FROM docs WHERE rid=?",
            (rid,),
        )
        self._execute("DELETE FROM uniq WHERE r=?", (rid,))

    def _store(self, rid: int | None, change: Change, version: int, rows: set[Row]) -> int:
        fresh = rid is None
        if rid is None:
            self._high = rid = self._high + 1
            self._execute(
                "INSERT INTO docs VALUES (?,?,?,?,?,?,?,?)",
                (rid, change.type, change.id, version, self._updated, change.method, change.meta, change.body),
            )
        else:
            self._execute(
                "UPDATE docs SET version=?, updated=?, method=?, meta=?, body=? WHERE rid=?",
                (version, self._updated, change.method, change.meta, change.body, rid),
            )
        write_rows(self._session, self._layout, change.type, rid, rows, fresh)
        return rid

    def _claim(self, key: str, stored: Stored) -> None:
        if stored.deleted:
            return
        owner = unique_key_owner(self._session, key)
        if owner is not None:
            raise DuplicateKey(key, stored.type, stored.id, owner)
        self._execute("INSERT INTO uniq VALUES (?,?)", (key, stored.key))

    def _record(self, record: Record) -> None:
        args: tuple[Any, ...] = (record.kind, record.key)
        if record.value is None:
            self._execute("DELETE FROM records WHERE kind=? AND key=?", args)
        else:
            self._execute("INSERT OR REPLACE INTO records VALUES (?,?,?)", (*args, record.value))
