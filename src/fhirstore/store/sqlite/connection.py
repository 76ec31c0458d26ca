"""Connections to the database: one per thread, opened on first use after fork. Errors of SQLite become ours."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from weakref import WeakSet

from fhirstore.model.messages import Message
from fhirstore.store.errors import TimedOut, TooComplex, Unavailable

NEVER = float("inf")
_STEPS = 100_000  # virtual machine steps between two checks of the time: some milliseconds
_TOO_COMPLEX = ("parser stack overflow", "Expression tree is too large", "too many", "tables in a join")


class StatementTimer:
    """Interrupts statements: SQLite calls `is_late` regularly. deadline: time.monotonic() seconds. Each call of the
    store sets it."""

    def __init__(self) -> None:
        self.deadline = NEVER

    def is_late(self) -> bool:
        return time.monotonic() > self.deadline


class SqliteSession:
    """The connection of one thread of one process; closed with the thread."""

    def __init__(self, path: str, timeout_s: float):
        self.pid = os.getpid()
        self.timer = StatementTimer()
        self.conn = sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, cached_statements=512, check_same_thread=False
        )
        self.execute = self.conn.execute
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-4000"):
            self.execute(f"PRAGMA {pragma}")
        self.conn.set_progress_handler(self.timer.is_late, _STEPS)


class SqliteConnections:
    """Sessions of the calling thread for the database at `path`. Inherited connections of a fork are left untouched.

    local.session: the session of this thread, perhaps one of the parent process."""

    def __init__(self, path: str, timeout_s: float):
        self.path = path
        self.local = threading.local()
        self._timeout_s = timeout_s
        self._sessions: WeakSet[SqliteSession] = WeakSet()
        self._inherited: list[SqliteSession] = []

    def session(self) -> SqliteSession:
        """Returns the session of this thread, without a deadline. Raises Unavailable if the database cannot be
        reached."""
        session: SqliteSession | None = getattr(self.local, "session", None)
        if session is None or session.pid != os.getpid():
            session = self._new_session(session)
        session.timer.deadline = NEVER
        return session

    def _new_session(self, inherited: SqliteSession | None) -> SqliteSession:
        if inherited is not None:
            self._inherited.append(inherited)  # to close a connection of the parent could disturb the parent
        if not os.path.exists(self.path):
            raise Unavailable(Message("{path} does not exist", path=self.path))
        try:
            session = self.local.session = SqliteSession(self.path, self._timeout_s)
        except sqlite3.Error as problem:
            raise translated(problem) from problem
        self._sessions.add(session)
        return session

    def close(self) -> None:
        """Closes the sessions of all threads of this process."""
        for session in list(self._sessions):
            if session.pid == os.getpid():
                session.conn.close()
        self.local = threading.local()


def translated(problem: sqlite3.Error) -> Exception:
    """Returns the matching error of `store.errors`, or the error itself if it is a bug."""
    text = str(problem)
    if text == "interrupted":
        return TimedOut(Message("the search took longer than search_timeout_s"))
    if any(sign in text for sign in _TOO_COMPLEX):
        return TooComplex(Message("the search is too complex ({text})", text=text))
    if isinstance(problem, sqlite3.OperationalError) and "syntax error" not in text and "no such" not in text:
        return Unavailable(Message("the database cannot be used now: {text}", text=text))
    if isinstance(problem, sqlite3.DatabaseError) and not isinstance(
        problem, sqlite3.ProgrammingError | sqlite3.IntegrityError | sqlite3.OperationalError
    ):
        return Unavailable(Message("the database is damaged: {text}", text=text))
    return problem
