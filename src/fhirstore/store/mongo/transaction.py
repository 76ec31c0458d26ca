"""Write transactions: all or nothing, tried again when they meet another.

Two transactions that change one document meet: the database aborts one, which is tried again from the start. The
threads of a process begin at once; one that has met another takes its turn with those of its process that have, so
that many rivals for one thing do not wear each other down.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from pymongo.read_preferences import ReadPreference

from fhirstore.store.errors import TimedOut, Unavailable
from fhirstore.store.mongo.connection import SNAPSHOT, Connections, View, brief, translated

_MET = {112, 11000}  # WriteConflict; DuplicateKey: another has made the document that was not there
_LONGEST_PAUSE_S = 0.1
_Result = TypeVar("_Result")


def transact(connections: Connections, timeout_s: float, work: Callable[[View], _Result]) -> _Result:
    """What `work` returns, committed. It may run several times. Raises what it raises, and Unavailable when no try
    succeeds within the timeout."""
    if connections.inside_reading:
        raise ValueError("a commit cannot be part of snapshot()")
    process = connections.process()
    deadline = time.monotonic() + timeout_s
    pause, queued = 0.001, False
    with ExitStack() as turn:
        while True:
            try:
                with process.client.start_session() as session:
                    return _attempt(connections, session, deadline, work)
            except PyMongoError as problem:
                if not again(problem):
                    raise translated(problem) from problem
                left = deadline - time.monotonic()
                if pause > left:
                    raise Unavailable(f"no write succeeded within {timeout_s} s (write_timeout_s)") from problem
            except TimedOut as problem:
                raise Unavailable(f"no write succeeded within {timeout_s} s (write_timeout_s)") from problem
            if not queued:
                if not process.turn.acquire(timeout=max(left, 0)):
                    raise Unavailable(f"other writers kept the store busy for {timeout_s} s (write_timeout_s)")
                queued = True
                turn.callback(process.turn.release)
            time.sleep(pause * random.random())
            pause = min(pause * 2, _LONGEST_PAUSE_S)


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
    pause = 0.001
    while True:
        try:
            session.commit_transaction()
            return result
        except PyMongoError as problem:
            # Whether it is stored is unknown: to commit once more is harmless and tells.
            if not problem.has_error_label("UnknownTransactionCommitResult"):
                raise
            if time.monotonic() + pause > deadline:
                raise Unavailable(f"it is not known whether the write was stored: {brief(problem)}") from problem
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def again(problem: PyMongoError) -> bool:
    """Whether the whole transaction may succeed when tried again. A conflict that shows at the commit has no label on
    some servers."""
    if problem.has_error_label("TransientTransactionError"):
        return True
    if isinstance(problem, BulkWriteError):
        return any(one.get("code") in _MET for one in problem.details.get("writeErrors", ()))
    if not isinstance(problem, OperationFailure):
        return False
    return problem.code in _MET or (problem.code is None and "write conflict" in str(problem).lower())
