"""Connections to the database: one per thread, opened on first use after fork. Errors of SQLite become ours.

Connections never create the file. A file that is removed or replaced while the server runs stops all writes: they would
be lost with the removed file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from weakref import WeakSet

from fhirstore.model.messages import Message
from fhirstore.store.errors import TimedOut, TooComplex, Unavailable
from fhirstore.store.fault_log import FaultLog

NEVER = float("inf")
_STEPS = 100_000  # virtual machine steps between two checks of the time: some milliseconds
_TOO_COMPLEX = ("parser stack overflow", "Expression tree is too large", "too many", "tables in a join")
_LATE = Message("the search took too long (search_timeout_s, request_timeout_s)")

FileId = tuple[int, int]  # device and inode


class StatementTimer:
    """Interrupts statements: SQLite calls `is_late` regularly. deadline: time.monotonic() seconds. Each call of the
    store sets it."""

    def __init__(self) -> None:
        self.deadline = NEVER

    def is_late(self) -> bool:
        return time.monotonic() > self.deadline


class SqliteSession:
    """The connection of one thread of one process; closed with the thread.

    wal: the inode of its write-ahead log, None before the first write."""

    def __init__(self, path: str, timeout_s: float):
        self.timer = StatementTimer()
        self.wal: int | None = None
        uri = f"{Path(path).absolute().as_uri()}?mode=rw"
        self.conn = sqlite3.connect(
            uri, uri=True, timeout=timeout_s, isolation_level=None, cached_statements=512, check_same_thread=False
        )
        self.execute = self.conn.execute
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-4000"):
            self.execute(f"PRAGMA {pragma}")
        self.conn.set_progress_handler(self.timer.is_late, _STEPS)


class _ThreadState(threading.local):
    """deadline: of the surrounding block `SnapshotStore.deadline`."""

    session: SqliteSession | None = None
    deadline: float = NEVER


class SqliteConnections:
    """Sessions of the calling thread for the database at `path`. Inherited connections of a fork are left untouched.

    file: the file that `open` checked, or else the one that the first session opened."""

    def __init__(self, path: str, timeout_s: float):
        self.path = path
        self.local = _ThreadState()
        self.file: FileId | None = None
        self.damage: str | None = None
        self._timeout_s = timeout_s
        self._sessions: WeakSet[SqliteSession] = WeakSet()
        self._inherited: list[tuple[_ThreadState, list[SqliteSession]]] = []
        self._faults = FaultLog()
        _all_connections.add(self)

    def session(self) -> SqliteSession:
        """Returns the session of this thread, without a deadline. Raises Unavailable if the database cannot be
        reached."""
        session = self.local.session or self._new_session()
        session.timer.deadline = NEVER
        return session

    def _new_session(self) -> SqliteSession:
        try:
            found = os.stat(self.path)
        except OSError as problem:
            raise self._missing() from problem
        file = found.st_dev, found.st_ino
        if self.file not in (None, file):
            raise self.removed()
        try:
            session = SqliteSession(self.path, self._timeout_s)
        except sqlite3.Error as problem:
            raise self.translated(problem) from problem
        self.file = file
        self.local.session = session
        self._sessions.add(session)
        return session

    def _missing(self) -> Unavailable:
        if self.file is not None:
            return self.removed()
        return self.unavailable(Message("{path} does not exist", path=self.path))

    def removed(self) -> Unavailable:
        """The error for a file that is not the one that the server opened."""
        return self.unavailable(
            Message("{path} was removed or replaced while the server was running; restart the server", path=self.path)
        )

    def unavailable(self, text: Message) -> Unavailable:
        """Logs the fault and returns the error."""
        self._faults.report(text)
        return Unavailable(text)

    def translated(self, problem: sqlite3.Error) -> Exception:
        """Returns the matching error of `store.errors`, or the error itself if it is a bug. Logs faults of the
        database. Damage is remembered: `SqliteStore.probe` reports it from then on."""
        text = str(problem)
        if text == "interrupted":
            return TimedOut(_LATE)
        if any(sign in text for sign in _TOO_COMPLEX):
            return TooComplex(Message("the search is too complex ({text})", text=text))
        if isinstance(problem, sqlite3.OperationalError) and "syntax error" not in text and "no such" not in text:
            return self.unavailable(Message("the database cannot be used now: {text}", text=text))
        if isinstance(problem, sqlite3.DatabaseError) and not isinstance(
            problem, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.OperationalError
        ):
            self.damage = text
            return self.unavailable(Message("the database is damaged: {text}", text=text))
        return problem

    def close(self) -> None:
        """Closes the sessions of all threads of this process."""
        for session in list(self._sessions):
            session.conn.close()
        self._sessions.clear()
        self.local = _ThreadState()

    def leave_to_parent(self) -> None:
        """After a fork: to close the connections of the parent could disturb the parent, so they are kept, unused."""
        self._inherited.append((self.local, list(self._sessions)))
        self._sessions = WeakSet()
        self.local = _ThreadState()


def timed_out() -> TimedOut:
    return TimedOut(_LATE)


_all_connections: WeakSet[SqliteConnections] = WeakSet()


def _after_fork() -> None:
    for connections in list(_all_connections):
        connections.leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)
