"""Write transactions: all or nothing, one after the other, tried again when they meet another.

Every transaction first changes the clock, one document in `keys`. So of two that overlap one is aborted by the
database and tried again: guards cannot be deceived by what they do not see (write skew), `updated` never decreases,
and no version becomes visible behind one that is older. The threads of one process queue before that.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_preferences import ReadPreference

from fhirstore.store.base import Unavailable
from fhirstore.store.mongo.connection import SNAPSHOT, Connections, View, translated
from fhirstore.store.mongo.layout import KEYS, Document

CLOCK = "clock"
_WRITE_CONFLICT = 112
_Result = TypeVar("_Result")


def transact(connections: Connections, timeout_s: float, work: Callable[[View], _Result]) -> _Result:
    """What `work` returns, committed. It may run several times. Raises what it raises, and Unavailable when no try
    succeeds within the timeout."""
    if connections.inside_reading:
        raise ValueError("a commit cannot be part of reading()")
    process = connections.process()
    deadline = time.monotonic() + timeout_s
    if not process.turn.acquire(timeout=timeout_s):
        raise Unavailable(f"other writers kept the store busy for more than {timeout_s} s (write_timeout_s)")
    try:
        pause = 0.001
        while True:
            try:
                with process.client.start_session() as session:
                    return _attempt(connections, session, deadline, work)
            except PyMongoError as problem:
                if not _again(problem):
                    raise translated(problem) from problem
                if time.monotonic() + pause > deadline:
                    raise Unavailable(f"no write succeeded within {timeout_s} s (write_timeout_s)") from problem
            time.sleep(pause * random.random())
            pause = min(pause * 2, 0.1)
    finally:
        process.turn.release()


def _attempt(
    connections: Connections, session: ClientSession, deadline: float, work: Callable[[View], _Result]
) -> _Result:
    session.start_transaction(read_concern=SNAPSHOT, read_preference=ReadPreference.PRIMARY)
    try:
        result = work(View(connections.process().db, session, deadline))
    except BaseException:
        with suppress(PyMongoError):
            session.abort_transaction()
        raise
    while True:
        try:
            session.commit_transaction()
            return result
        except PyMongoError as problem:
            # Whether it is stored is unknown: to commit once more is harmless and tells.
            if not problem.has_error_label("UnknownTransactionCommitResult"):
                raise
            if time.monotonic() > deadline:
                raise Unavailable(f"it is not known whether the write was stored: {problem}") from problem


def _again(problem: PyMongoError) -> bool:
    """Whether the whole transaction may succeed when tried again. A conflict that shows at the commit has no label on
    some servers."""
    if problem.has_error_label("TransientTransactionError"):
        return True
    if not isinstance(problem, OperationFailure):
        return False
    return problem.code == _WRITE_CONFLICT or (problem.code is None and "write conflict" in str(problem).lower())


def tick(view: View, stamp: str, versions: int) -> tuple[int, int]:
    """Changes the clock: (the number of the first of so many versions, their common `updated`).

    Raises Unavailable if another process has opened the database with another schema: what this one would write
    lacked index entries."""
    now: Document | None = view.db[KEYS].find_one_and_update(
        {"_id": CLOCK, "stamp": stamp},
        {"$inc": {"seq": max(versions, 1)}, "$max": {"updated": time.time_ns() // 1_000_000 * 1000}},
        return_document=ReturnDocument.AFTER,
        session=view.session,
    )
    if now is None:
        raise Unavailable("the store has been opened with other search parameters since; restart this process")
    return now["seq"] - max(versions, 1) + 1, now["updated"]
