"""The client of each process, created after fork; sessions; and the translation of the driver's errors."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.uri_parser import parse_uri

from fhirstore.errors import StartupError
from fhirstore.model.messages import Message
from fhirstore.store.errors import SnapshotLost, TimedOut, Unavailable
from fhirstore.store.fault_log import FaultLog
from fhirstore.store.mongo.layout import Document

Client = MongoClient[Document]
Order = Sequence[tuple[str, int]]

DATABASE = "fhirstore"  # unless the URL names another one
SNAPSHOT = ReadConcern("snapshot")
_SINGLE_BATCH = 5000  # this many documents come with the answer to one command, if their size allows
_TEMPORARY = {  # codes of temporary errors
    6, 7, 18, 24, 46, 64, 89, 91, 100, 112, 133, 134, 189, 202, 211, 225, 239, 246, 251, 262, 290, 317, 358, 384, 9001,
    10058, 10107, 11600, 11602, 13388, 13435, 13436,
}  # fmt: skip
_LATE = Message("the search took too long (search_timeout_s, request_timeout_s)")
_faults = FaultLog()
_LOST = {134, 239, 246, 251}  # codes of a snapshot that does not exist, or no longer exists


class MongoSession:
    """The commands of one thread, inside a transaction of the driver or not. deadline: time.monotonic() seconds."""

    def __init__(self, db: Database[Document], driver_session: ClientSession | None, deadline: float):
        self.db, self.driver_session, self._deadline = db, driver_session, deadline

    def outside(self) -> MongoSession:
        """Returns this session outside of any transaction."""
        return self if self.driver_session is None else MongoSession(self.db, None, self._deadline)

    def at_primary(self) -> MongoSession:
        """Returns this session on the primary, whatever read preference the URL has."""
        return MongoSession(
            self.db.with_options(read_preference=ReadPreference.PRIMARY), self.driver_session, self._deadline
        )

    def left_ms(self) -> int:
        left = int((self._deadline - time.monotonic()) * 1000)
        if left <= 0:
            raise TimedOut(_LATE)
        return left

    def find(
        self,
        collection: str,
        where: Document,
        fields: Mapping[str, Any] | None,
        order: Order = (),
        limit: int | None = None,
        batch: int = 1000,
    ) -> Iterator[Document]:
        """Yields documents with these fields (None = all). `limit` documents come with one command unless they are very
        large."""
        cursor = self.db[collection].find(where, fields, session=self.driver_session).max_time_ms(self.left_ms())
        if order:
            cursor = cursor.sort(list(order)).allow_disk_use(True)
        if limit is not None:
            cursor = cursor.limit(limit)
        with cursor.batch_size(batch if limit is None or limit > _SINGLE_BATCH else max(limit, 2)):
            yield from cursor

    def one(self, collection: str, where: Document, fields: Mapping[str, Any], order: Order = ()) -> Document | None:
        return next(self.find(collection, where, fields, order, 1), None)

    def count(self, collection: str, where: Document, at_most: int | None) -> int:
        steps: list[Document] = [{"$match": where}]
        if at_most is not None:
            steps.append({"$limit": at_most})
        steps.append({"$group": {"_id": 1, "n": {"$sum": 1}}})
        found = next(iter(self.aggregate(collection, steps)), None)
        return 0 if found is None else int(found["n"])

    def aggregate(self, collection: str, steps: list[Document]) -> Iterator[Document]:
        with self.db[collection].aggregate(steps, session=self.driver_session, maxTimeMS=self.left_ms()) as cursor:
            yield from cursor


class BackgroundTask(Protocol):
    def stop(self) -> None: ...


class _MongoProcess:
    """The resources of one process."""

    def __init__(self, client: Client, database: str):
        self.pid = os.getpid()
        self.client = client
        self.db = client[database]
        self.turn = threading.Lock()  # of transactions after a conflict, see transaction.py
        self.local = threading.local()
        self.ready: set[str] = set()  # types whose collections exist
        self.latest = 0  # the greatest `updated` of its commits
        self._own = threading.Lock()
        self.running: BackgroundTask | None = None  # its background work

    def record_commit(self, updated: int) -> None:
        with self._own:
            self.latest = max(self.latest, updated)

    def start_in_background(self, start: Callable[[Database[Document]], BackgroundTask]) -> None:
        """Starts the background work of the process, once."""
        with self._own:
            if self.running is None:
                self.running = start(self.db)


class _ThreadState(threading.local):
    """deadline: of the surrounding block `SnapshotStore.deadline`."""

    deadline: float = float("inf")


class MongoConnections:
    """Clients for `url`, one per process. Clients that a fork inherited are left untouched.

    longest_s: seconds after which a command's connection is dropped."""

    def __init__(self, url: str, write_timeout_s: float, longest_s: float):
        self._url, self._write_timeout_s, self._longest_s = url, write_timeout_s, longest_s
        self.local = _ThreadState()
        self._creating = threading.Lock()
        self._current: _MongoProcess | None = None
        self._inherited: list[_MongoProcess] = []

    def process(self) -> _MongoProcess:
        process = self._current
        if process is not None and process.pid == os.getpid():
            return process
        with self._creating:
            if self._current is not None and self._current.pid != os.getpid():
                self._inherited.append(self._current)  # its sockets belong to the parent: keep it, unused
                self._current = None
            if self._current is None:
                self._current = _MongoProcess(*self._client())
            return self._current

    def _client(self) -> tuple[Client, str]:
        """Creates a client with majority reads and writes and our time-outs, unless the URL sets others. Raises
        StartupError, which never shows the password of the URL."""
        try:
            parsed = parse_uri(self._url, validate=True, warn=False)
            given = {str(name).lower(): value for name, value in parsed["options"].items()}
            if given.get("w") == 0:
                raise ConfigurationError("w=0 does not wait until writes are stored. Remove it, or use w=majority")
            more: dict[str, Any] = {
                name: value for name, value in self._defaults().items() if name.lower() not in given
            }
            client: Client = MongoClient(self._url, connect=False, **more)
        except (InvalidURI, ConfigurationError, ValueError) as problem:
            raise StartupError(
                f"store: invalid MongoDB URL: {problem}. "
                "Example: mongodb://USER:PASSWORD@HOST:27017/DATABASE?replicaSet=NAME"
            ) from None
        return client, parsed["database"] or DATABASE

    def _defaults(self) -> dict[str, Any]:
        return {
            "w": "majority",
            "readConcernLevel": "majority",
            "serverSelectionTimeoutMS": int(min(self._write_timeout_s, 5.0) * 1000),
            "connectTimeoutMS": 5000,
            "socketTimeoutMS": int((self._longest_s + 5.0) * 1000),
            "appname": "fhirstore",
        }

    @property
    def database(self) -> str:
        return self.process().db.name

    def session(self, timeout_s: float) -> MongoSession:
        """Returns a session in the transaction of the surrounding `snapshot`, if there is one. Its commands end after
        the timeout, or at the deadline of the thread."""
        process = self.process()
        deadline = min(self.local.deadline, time.monotonic() + timeout_s)
        return MongoSession(process.db, getattr(process.local, "session", None), deadline)

    @contextmanager
    def deadline(self, at: float | None) -> Iterator[None]:
        """See `SnapshotStore.deadline`."""
        outer = self.local.deadline
        self.local.deadline = outer if at is None else min(outer, at)
        try:
            yield
        finally:
            self.local.deadline = outer

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Opens a transaction that sees one state. A nested snapshot is part of the outer one."""
        process = self.process()
        if getattr(process.local, "session", None) is not None:
            yield
            return
        with process.client.start_session() as session:
            session.start_transaction(read_concern=SNAPSHOT, read_preference=ReadPreference.PRIMARY)
            process.local.session = session
            try:
                yield
            finally:
                process.local.session = None

    @property
    def inside_snapshot(self) -> bool:
        return getattr(self.process().local, "session", None) is not None

    def close(self) -> None:
        process, self._current = self._current, None
        if process is not None and process.pid == os.getpid():
            if process.running is not None:
                process.running.stop()
            process.client.close()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns errors of the driver into errors of `store.errors`."""
    try:
        yield
    except PyMongoError as problem:
        raise translated(problem) from problem


def translated(problem: PyMongoError) -> Exception:
    """Returns the matching error of `store.errors`, or the error itself if it is a bug. Logs faults of the database."""
    found = _translated(problem)
    if isinstance(found, Unavailable) and not isinstance(found, SnapshotLost):
        # The texts of the server may hold the command, and so values of a search.
        details = problem.details or {} if isinstance(problem, OperationFailure) else {}
        name, code = details.get("codeName", ""), getattr(problem, "code", None) or ""
        _faults.report(" ".join(f"MongoDB: {type(problem).__name__} {code} {name}".split()))
    return found


def _translated(problem: PyMongoError) -> Exception:
    if isinstance(problem, ExecutionTimeout | NetworkTimeout):
        return TimedOut(_LATE)
    if isinstance(problem, ConnectionFailure):
        return Unavailable(Message("the database cannot be reached: {problem}", problem=brief(problem)))
    if isinstance(problem, OperationFailure):
        transient = problem.has_error_label("TransientTransactionError")
        if transient or problem.code in _LOST:
            return SnapshotLost(Message("the database cannot answer now: {problem}", problem=brief(problem)))
        temporary = problem.code in _TEMPORARY
        if temporary or problem.has_error_label("UnknownTransactionCommitResult"):
            return Unavailable(Message("the database cannot answer now: {problem}", problem=brief(problem)))
        if problem.code in (8000, 13):
            return Unavailable(Message("the database user lacks a right: {problem}", problem=brief(problem)))
    return problem


def brief(problem: Exception) -> str:
    """Returns the driver's text without the topology and the reply that follow it."""
    return str(problem).partition(", full error")[0].partition(", Timeout:")[0][:300]
