"""What goes wrong between us and MongoDB: a write is stored once or not at all, and later calls work again.

The faults are injected by the server's fail points, by a line that is cut, and by a kill -9 of the server. An election
is not shown: of a new primary the client sees that it is another, that connections break, that open transactions are
gone, and that some commands are answered with "not primary", and those are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive
import pytest
from pymongo.client_session import ClientSession
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure
from support.mongo import Replica
from support.tcp_proxy import TcpProxy

from fhirstore.model.conditions import MATCH_ALL, Chain, Token
from fhirstore.model.stored import Change, Guard, Record
from fhirstore.store.errors import TimedOut, Unavailable
from fhirstore.store.fault_log import FaultLog
from fhirstore.store.mongo import MongoStore, connection, transaction, write
from fhirstore.store.protocol import Store, with_snapshot

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


@pytest.mark.parametrize("forgets", [False, True])
def test_an_unknown_result_of_a_commit_is_asked_for_again(ready: Store, fail: Fail, forgets: bool) -> None:
    """Asked again, the server commits, or it says that there is no such transaction: then all is done once more."""
    fail("commitTransaction", 2, 91, UNKNOWN, forgets=forgets)

    ready.commit([ONE])

    assert versions(ready) == [("a", 1), ("z", 1)]


def test_a_failover_during_a_transaction_is_survived(ready: Store, fail: Fail) -> None:
    fail("insert", 1, 10107, TRANSIENT)  # NotWritablePrimary

    ready.commit([ONE])

    assert versions(ready) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("command", ["findAndModify", "insert", "commitTransaction"])
def test_a_connection_that_the_server_closes_loses_nothing(ready: Store, fail: Fail, command: str) -> None:
    fail(command, 1, 0, closeConnection=True)

    ready.commit([ONE])

    assert versions(ready) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("command", ["insert", "update"])
def test_a_duplicate_key_in_a_race_is_looked_at_again(ready: Store, fail: Fail, command: str) -> None:
    """A rival made the document that was not there when the transaction began: the next attempt sees it."""
    fail(command, 1, 11000)

    ready.commit([ONE], [Guard("Thing", Token("tok", "s", "x"), frozenset())])

    assert versions(ready) == [("a", 1), ("z", 1)]


def test_a_duplicate_key_among_many_writes_is_tried_again_too() -> None:
    assert transaction.is_conflict(BulkWriteError({"writeErrors": [{"code": 11000}]}))
    assert not transaction.is_conflict(BulkWriteError({"writeErrors": [{"code": 121}]}))


def test_a_database_that_dies_in_a_transaction_and_comes_back_stores_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, deaths, take_locks = Replica(tmp_path / "journal"), [], write.take_locks
    store = MongoStore(server.named("x"))
    store.open(naive.schema())
    store.commit([Change("Thing", "z", None, "PUT")])

    def die(*args: Any) -> None:
        if not deaths:
            deaths.append(1)
            server.kill()
            server.start()
        take_locks(*args)

    monkeypatch.setattr(write, "take_locks", die)
    store.commit([ONE], [Guard("Thing", Token("tok", "s", "x"), frozenset())])

    assert versions(store) == [("a", 1), ("z", 1)]
    store.close()
    server.close()


def test_a_commit_whose_answer_dies_with_the_database_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is in the journal, the answer is not sent: asked again after the restart, the server knows."""
    server, deaths, commit = Replica(tmp_path / "journal"), [], ClientSession.commit_transaction
    store = MongoStore(server.named("x"))
    store.open(naive.schema())
    store.commit([Change("Thing", "z", None, "PUT")])

    def die(session: ClientSession) -> None:
        commit(session)
        if not deaths:
            deaths.append(1)
            server.kill()
            server.start()
            unknown = AutoReconnect("connection closed")
            unknown._add_error_label(UNKNOWN)
            raise unknown

    monkeypatch.setattr(ClientSession, "commit_transaction", die)
    store.commit([ONE])

    assert versions(store) == [("a", 1), ("z", 1)]
    store.close()
    server.close()


def test_what_does_not_pass_is_given_up_in_time(ready: Store, make_store: Callable[..., Store], fail: Fail) -> None:
    """Two stores, for the one that gives up soon may do so on a busy machine at any time."""
    hasty = make_store(write_timeout_s=0.5)
    fail("insert", 100_000, 112, TRANSIENT)

    with pytest.raises(Unavailable):
        hasty.commit([ONE])

    fail("insert", 1, 112, TRANSIENT)
    ready.commit([ONE])
    assert versions(ready) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("code", [91, 189, 10107, 11600, 13435])
def test_a_server_that_is_not_primary_is_unavailable(ready: Store, fail: Fail, code: int) -> None:
    fail("find", 100, code)

    with pytest.raises(Unavailable):
        ready.read("Thing", "z")


@pytest.mark.parametrize("code", [246, 239, 251])  # SnapshotUnavailable, SnapshotTooOld, NoSuchTransaction
def test_reads_of_one_state_begin_anew_where_it_is_lost(ready: Store, fail: Fail, code: int) -> None:
    fail("find", 3, code, TRANSIENT)

    assert with_snapshot(ready, lambda: ready.find("Thing", MATCH_ALL).entries[0].id) == "z"


def test_a_state_that_is_lost_again_and_again_is_unavailable(ready: Store, fail: Fail) -> None:
    fail("find", 100, 246, TRANSIENT)

    with pytest.raises(Unavailable):
        with_snapshot(ready, lambda: ready.find("Thing", MATCH_ALL))


def test_a_search_that_takes_too_long_times_out(ready: Store, fail: Fail) -> None:
    fail("find", 1, 50)  # MaxTimeMSExpired

    with pytest.raises(TimedOut, match="search_timeout_s"):
        ready.find("Thing", MATCH_ALL)


def test_a_search_gets_no_more_time_than_the_deadline_leaves(ready: Store, commands: Any) -> None:
    searches = (
        lambda: ready.find("Thing", MATCH_ALL),
        lambda: ready.find("Thing", Chain("ref", "Thing", MATCH_ALL)),
        lambda: ready.count("Thing", Token("tok", None, "x")),
        lambda: ready.history("Thing"),
    )
    with commands.heard() as heard, ready.deadline(time.monotonic() + 5):
        for search in searches:
            search()

    given = [command["maxTimeMS"] for _, command in heard if "maxTimeMS" in command]
    assert len(given) >= len(searches)
    assert all(0 < limit <= 5000 for limit in given)


def test_faults_are_logged_without_values(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_faults", FaultLog())
    text = 'not authorized on x to execute command { find: "Thing", filter: { ix.str: "Ms. Secret" } }'
    problem = OperationFailure(text, 13, {"codeName": "Unauthorized"})
    for _ in range(3):
        assert isinstance(connection.translated(problem), Unavailable)

    assert caplog.messages == ["store: MongoDB: OperationFailure 13 Unauthorized"]
    assert "Secret" not in caplog.text


def test_a_missing_right_is_said(ready: Store, fail: Fail) -> None:
    fail("find", 1, 13)

    with pytest.raises(Unavailable, match="lacks a right"):
        ready.find("Thing", MATCH_ALL)


def test_a_commit_whose_answer_is_lost_is_stored_once(
    make_store: Callable[..., Store], line: tuple[TcpProxy, str]
) -> None:
    store = make_store(to=line[1])
    store.commit([Change("Thing", "z", None, "PUT")])
    line[0].lose_answer_to("commitTransaction")

    [stored] = store.commit([ONE], records=[Record("kind", "key", b"value")])

    assert store.read("Thing", "a") == stored
    assert versions(store) == [("a", 1), ("z", 1)]


@pytest.mark.parametrize("command", ["findAndModify", "insert"])
def test_a_connection_that_ends_in_a_transaction_loses_nothing(
    make_store: Callable[..., Store], line: tuple[TcpProxy, str], command: str
) -> None:
    store = make_store(to=line[1])
    store.commit([Change("Thing", "z", None, "PUT")])
    line[0].lose_answer_to(command)

    store.commit([ONE])

    assert versions(store) == [("a", 1), ("z", 1)]


def test_without_a_network_calls_are_refused_in_time_and_work_again_after(
    ready: Store, make_store: Callable[..., Store], line: tuple[TcpProxy, str]
) -> None:
    patient = make_store(to=line[1] + "&serverSelectionTimeoutMS=300", write_timeout_s=60)
    hasty = make_store(to=line[1] + "&serverSelectionTimeoutMS=300", write_timeout_s=0.5)
    line[0].disconnect()

    for call in (lambda: patient.read("Thing", "z"), patient.probe, lambda: hasty.commit([ONE])):
        with pytest.raises(Unavailable):
            call()

    line[0].reconnect()
    eventually(patient.probe)
    patient.commit([ONE])
    assert versions(ready) == [("a", 1), ("z", 1)]


def test_every_wait_has_an_end(make_store: Callable[..., Store], url: str) -> None:
    """For an answer, for a connection, for a server; and the URL has the last word."""
    options = [
        make_store(to=url + more, write_timeout_s=3, search_timeout_s=20)._connections.process().client.options  # type: ignore[attr-defined]
        for more in ("", "&socketTimeoutMS=7000&serverSelectionTimeoutMS=9000&w=1")
    ]
    pools = [one.pool_options for one in options]

    assert [(pool.socket_timeout, pool.connect_timeout) for pool in pools] == [(25.0, 5.0), (7.0, 5.0)]
    assert [one.server_selection_timeout for one in options] == [3.0, 9.0]
    assert [one.write_concern.document for one in options] == [{"w": "majority"}, {"w": 1}]
    assert [one.read_concern.level for one in options] == ["majority", "majority"]
