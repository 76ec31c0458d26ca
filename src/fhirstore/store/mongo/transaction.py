"""Write transactions: everything or nothing, retried after conflicts.

Two transactions that change one document conflict: the database aborts one of them, and it is retried from the start.
The threads of a process start concurrently. After its first conflict, a transaction waits for the other conflicting
transactions of its process, so that many writers of one document do not keep aborting one another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from pymongo.read_preferences import ReadPreference
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_exponential,
    wait_random_exponential,
)

from fhirstore.model.messages import Message
from fhirstore.store.errors import TimedOut, Unavailable
from fhirstore.store.mongo.connection import SNAPSHOT, MongoConnections, MongoSession, brief, translated

_CONFLICTS = {112, 11000}  # WriteConflict; DuplicateKey: another transaction has created the document
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.1
_Result = TypeVar("_Result")


def transact(connections: MongoConnections, timeout_s: float, work: Callable[[MongoSession], _Result]) -> _Result:
    """Commits the writes of `work` and returns its result. `work` may run several times.

    Raises the errors of `work`, and Unavailable if no attempt succeeds within the timeout."""
    if connections.inside_snapshot:
        raise ValueError("a commit cannot be part of snapshot()")
    process = connections.process()
    deadline = time.monotonic() + timeout_s

    def attempt() -> _Result:
        with process.client.start_session() as session:
            return _attempt(connections, session, deadline, work)

    with ExitStack() as queue:
        retrying = Retrying(
            retry=retry_if_exception(is_conflict),
            stop=stop_before_delay(timeout_s),
            wait=wait_random_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
            before_sleep=lambda state: _wait_for_turn(state, queue, process.turn, timeout_s),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except PyMongoError as problem:
            if is_conflict(problem):
                raise Unavailable(
                    Message("no write succeeded within {timeout_s} s (write_timeout_s)", timeout_s=timeout_s)
                ) from problem
            raise translated(problem) from problem
        except TimedOut as problem:
            raise Unavailable(
                Message("no write succeeded within {timeout_s} s (write_timeout_s)", timeout_s=timeout_s)
            ) from problem


def _wait_for_turn(state: RetryCallState, queue: ExitStack, turn: threading.Lock, timeout_s: float) -> None:
    """Queues a transaction after its first conflict. `queue` releases the turn when the transaction ends."""
    if state.attempt_number > 1:
        return
    if not turn.acquire(timeout=max(timeout_s - (state.seconds_since_start or 0), 0)):
        raise Unavailable(
            Message("other writers kept the store busy for {timeout_s} s (write_timeout_s)", timeout_s=timeout_s)
        )
    queue.callback(turn.release)


def _attempt(
    connections: MongoConnections, session: ClientSession, deadline: float, work: Callable[[MongoSession], _Result]
) -> _Result:
    session.start_transaction(read_concern=SNAPSHOT, read_preference=ReadPreference.PRIMARY)
    try:
        result = work(MongoSession(connections.process().db, session, deadline))
    except BaseException:
        with suppress(PyMongoError):
            session.abort_transaction()
        raise
    # The outcome of a commit may be unknown. To repeat it is harmless, and gives the outcome.
    retrying = Retrying(
        retry=retry_if_exception(_is_unknown_commit),
        stop=stop_before_delay(max(deadline - time.monotonic(), 0)),
        wait=wait_exponential(multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S),
        reraise=True,
    )
    try:
        retrying(session.commit_transaction)
    except PyMongoError as problem:
        if not _is_unknown_commit(problem):
            raise
        raise Unavailable(
            Message("the outcome of the write is unknown: {problem}", problem=brief(problem))
        ) from problem
    return result


def _is_unknown_commit(problem: BaseException) -> bool:
    return isinstance(problem, PyMongoError) and problem.has_error_label("UnknownTransactionCommitResult")


def is_conflict(problem: BaseException) -> bool:
    """Whether a retry of the whole transaction may succeed. On some servers, a conflict at commit time has no label."""
    if not isinstance(problem, PyMongoError):
        return False
    if problem.has_error_label("TransientTransactionError"):
        return True
    if isinstance(problem, BulkWriteError):
        return any(one.get("code") in _CONFLICTS for one in problem.details.get("writeErrors", ()))
    if not isinstance(problem, OperationFailure):
        return False
    return problem.code in _CONFLICTS or (problem.code is None and "write conflict" in str(problem).lower())
