"""What goes wrong between us and MongoDB: a write is stored once or not at all, and later calls work again.

The faults are injected by the server's fail points and by a line that is cut. MongoDB aborts the transaction that it
refuses a command of; the stand-in's fail points leave it open, and our abort ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database
from support.line import Line

from fhirstore.store.base import EVERYTHING, Change, Record, Store, TimedOut, Unavailable

Fail = Callable[..., None]
TRANSIENT, UNKNOWN = "TransientTransactionError", "UnknownTransactionCommitResult"
ONE = Change("Thing", "a", None, "PUT", b"", b'"n":1', {"tok": [("s", "x")]}, unique=("key",))


def versions(store: Store) -> list[tuple[str, int]]:
    return [(entry.id, entry.version) for entry in store.history().entries]


def eventually(call: Callable[[], object]) -> None:
    """The driver looks for a lost server every half second."""
    give_up = time.monotonic() + 60
    while True:
        try:
            call()
            return
        except Unavailable:
            assert time.monotonic() < give_up


@pytest.fixture
def ready(store: Store) -> Store:
    """A store that has the collections of the type already."""
    store.commit([Change("Thing", "z", None, "PUT")])
    return store


@pytest.mark.parametrize("command", ["findAndModify", "find", "aggregate", "insert", "commitTransaction"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_transient_error_is_tried_again(ready: Store, fail: Fail, command: str, times: int) -> None:
    fail(command, times, 112, TRANSIENT)

    [stored] = ready.commit([ONE])

    assert stored.version == 1
    assert versions(ready) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("code", [112])
def test_a_write_conflict_without_a_label_is_tried_again(ready: Store, fail: Fail, code: int) -> None:
    fail("commitTransaction", 2, code)

    ready.commit([ONE])

    assert versions(ready) == [("a", 1), ("z", 1)]


def test_an_unknown_result_of_a_commit_is_asked_for_again(ready: Store, fail: Fail) -> None:
    fail("commitTransaction", 2, 91, UNKNOWN)

    ready.commit([ONE])

    assert versions(ready) == [("a", 1), ("z", 1)]


def test_a_failover_during_a_transaction_is_survived(ready: Store, fail: Fail) -> None:
    fail("insert", 1, 10107, TRANSIENT)  # NotWritablePrimary

    ready.commit([ONE])

    assert versions(ready) == [("a", 1), ("z", 1)]


def test_what_does_not_pass_is_given_up_in_time(make_store: Callable[..., Store], fail: Fail) -> None:
    store = make_store(write_timeout_s=0.5)
    store.commit([Change("Thing", "z", None, "PUT")])
    fail("insert", 100_000, 112, TRANSIENT)

    with pytest.raises(Unavailable, match="write_timeout_s"):
        store.commit([ONE])

    fail("insert", 1, 112, TRANSIENT)
    store.commit([ONE])
    assert versions(store) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("code", [91, 189, 10107, 11600, 13435])
def test_a_server_that_is_not_primary_is_unavailable(ready: Store, fail: Fail, code: int) -> None:
    fail("find", 100, code)

    with pytest.raises(Unavailable):
        ready.read("Thing", "z")


def test_a_search_that_takes_too_long_times_out(ready: Store, fail: Fail) -> None:
    fail("find", 1, 50)  # MaxTimeMSExpired

    with pytest.raises(TimedOut, match="search_timeout_s"):
        ready.find("Thing", EVERYTHING)


def test_a_missing_right_is_said(ready: Store, fail: Fail) -> None:
    fail("find", 1, 13)

    with pytest.raises(Unavailable, match="lacks a right"):
        ready.find("Thing", EVERYTHING)


def test_a_commit_whose_answer_is_lost_is_stored_once(make_store: Callable[..., Store], line: tuple[Line, str]) -> None:
    store = make_store(to=line[1])
    store.commit([Change("Thing", "z", None, "PUT")])
    line[0].lose_answer_to("commitTransaction")

    [stored] = store.commit([ONE], records=[Record("kind", "key", b"value")])

    assert store.read("Thing", "a") == stored
    assert versions(store) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("command", ["findAndModify", "insert"])
def test_a_connection_that_ends_in_a_transaction_loses_nothing(
    make_store: Callable[..., Store], line: tuple[Line, str], command: str
) -> None:
    store = make_store(to=line[1])
    store.commit([Change("Thing", "z", None, "PUT")])
    line[0].lose_answer_to(command)

    store.commit([ONE])

    assert versions(store) == [("a", 1), ("z", 1)]


def test_without_a_network_calls_are_refused_in_time_and_work_again_after(
    make_store: Callable[..., Store], line: tuple[Line, str], db: Database[dict[str, Any]]
) -> None:
    store = make_store(to=line[1] + "&serverSelectionTimeoutMS=300", write_timeout_s=1)
    store.commit([Change("Thing", "z", None, "PUT")])
    line[0].cut()

    for call in (lambda: store.read("Thing", "z"), store.health, lambda: store.commit([ONE])):
        with pytest.raises(Unavailable):
            call()

    line[0].mend()
    eventually(store.health)
    store.commit([ONE])
    assert versions(store) == [("a", 1), ("z", 1)]
