"""SqliteConnections: one per thread, opened on first use after fork. Writers take a file lock before they begin.

SQLite lets one process write at a time and makes the others poll. With the lock file, writers wait for one another
outside the database, and a write transaction that has begun never waits.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from fhirstore.model.messages import Message
from fhirstore.store.errors import TimedOut, TooComplex, Unavailable

_NEVER = float("inf")
_STEPS = 100_000  # virtual machine steps between two checks of the time: some milliseconds
_TOO_COMPLEX = ("parser stack overflow", "Expression tree is too large", "too many", "tables in a join")


class StatementTimer:
    """Interrupts statements: SQLite calls `is_late` regularly. deadline: time.monotonic() seconds."""

    def __init__(self) -> None:
        self.deadline = _NEVER

    def is_late(self) -> bool:
        return time.monotonic() > self.deadline


class SqliteSession:
    """One thread's connection; closed with the thread."""

    def __init__(self, path: str, timeout_s: float):
        self.timer = StatementTimer()
        self.conn = sqlite3.connect(
            path, timeout=timeout_s, isolation_level=None, cached_statements=512, check_same_thread=False
        )
        self.execute = self.conn.execute
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-4000"):
            self.execute(f"PRAGMA {pragma}")
        self.conn.set_progress_handler(self.timer.is_late, _STEPS)


class WriterLock:
    """The write lock of the database: one thread of one process holds it. Threads of a process queue first."""

    def __init__(self, path: str, timeout_s: float):
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


class _SqliteProcess:
    """The resources of one process: its lock and the connections of its threads."""

    def __init__(self, path: str, write_timeout_s: float):
        self.pid = os.getpid()
        self.lock = WriterLock(path, write_timeout_s)
        self.local = threading.local()
        self.sessions: WeakSet[SqliteSession] = WeakSet()


class SqliteConnections:
    """Sessions of the calling thread for the database at `path`. Inherited connections of a fork are left untouched."""

    def __init__(self, path: str, write_timeout_s: float):
        self.path = path
        self._write_timeout_s = write_timeout_s
        self._creating = threading.Lock()
        self._process: _SqliteProcess | None = None
        self._inherited: list[_SqliteProcess] = []

    def session(self) -> SqliteSession:
        """Returns the session of this thread. Raises Unavailable if the database cannot be reached."""
        process = self._process
        if process is None or process.pid != os.getpid():
            process = self._new_process()
        session: SqliteSession | None = getattr(process.local, "session", None)
        if session is None:
            try:
                session = process.local.session = SqliteSession(self.path, min(self._write_timeout_s, 5.0))
            except sqlite3.Error as problem:
                raise translated(problem) from problem
            process.sessions.add(session)
        return session

    def _new_process(self) -> _SqliteProcess:
        with self._creating:
            if self._process is not None and self._process.pid != os.getpid():
                # To close a connection of the parent could disturb the parent: keep it, unused.
                self._inherited.append(self._process)
                self._process = None
            if self._process is None:
                if not os.path.exists(self.path):
                    raise Unavailable(Message("{path} does not exist", path=self.path))
                try:
                    self._process = _SqliteProcess(self.path, self._write_timeout_s)
                except OSError as problem:
                    raise Unavailable(
                        Message(
                            "the lock files of {path} cannot be opened: {reason}",
                            path=self.path,
                            reason=problem.strerror,
                        )
                    ) from problem
            return self._process

    @contextmanager
    def writing(self) -> Iterator[SqliteSession]:
        """Opens a write transaction, committed at the end, rolled back on any error. Raises Unavailable."""
        session = self.session()
        process = self._process
        assert process is not None
        if session.conn.in_transaction:
            raise ValueError("a commit cannot be part of snapshot()")
        process.lock.acquire()
        try:
            session.execute("BEGIN IMMEDIATE")
            try:
                yield session
                session.execute("COMMIT")
            except BaseException:
                if session.conn.in_transaction:
                    session.execute("ROLLBACK")
                raise
        except sqlite3.Error as problem:
            raise translated(problem) from problem
        finally:
            process.lock.release()

    @contextmanager
    def snapshot(self) -> Iterator[SqliteSession]:
        """Opens a transaction that sees one state. A nested snapshot is part of the outer one."""
        session = self.session()
        if session.conn.in_transaction:
            yield session
            return
        try:
            session.execute("BEGIN")
            try:
                yield session
            finally:
                if session.conn.in_transaction:
                    session.execute("COMMIT")
        except sqlite3.Error as problem:
            raise translated(problem) from problem

    @contextmanager
    def searching(self, timeout_s: float) -> Iterator[SqliteSession]:
        """Returns a session that interrupts its statements after `timeout_s` seconds in all (TimedOut)."""
        session = self.session()
        timer = session.timer
        outer = timer.deadline
        timer.deadline = min(outer, time.monotonic() + timeout_s)
        try:
            yield session
        except sqlite3.Error as problem:
            raise translated(problem) from problem
        finally:
            timer.deadline = outer

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.pid == os.getpid():
            for session in list(process.sessions):
                session.conn.close()
            process.lock.close()


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
