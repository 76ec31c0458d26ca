"""Guards whose commits overlap: none is deceived by what the other stores, whatever their conditions look like.

Both transactions look before either writes: the test holds each at its lock_keys until the other has come as far. On
mongoeco any two writers take_locks, so only the replica set of our own can show this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Not,
    Or,
    String,
    Token,
)
from fhirstore.model.indexing import IndexedParameter, Schema
from fhirstore.model.stored import Change, Guard
from fhirstore.store.errors import GuardChanged
from fhirstore.store.mongo import MongoStore, write
from fhirstore.store.mongo.clock import SHARD_IDS

PARAMS = {
    "id": IndexedParameter("id", "token", False, "1", identifying=True),
    "name": IndexedParameter("name", "string", False, "1"),
    "of": IndexedParameter("of", "reference", False, "1"),
}
SCHEMA = Schema({"Thing": PARAMS, "Other": PARAMS})
BOTH: dict[str, Any] = {"id": [("s", "a"), ("s", "b")], "name": [("x", "X"), ("y", "Y")]}
A, B = Token("id", "s", "a"), Token("id", "s", "b")
X, Y = String("name", "prefix", "x"), String("name", "exact", "Y")


@pytest.fixture
def overlapping(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first two commits of other threads come to their lock_keys together; the list grows with each attempt."""
    barrier, attempts, take_locks = threading.Barrier(2), [], write.take_locks

    def together(*args: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            attempts.append(1)
            if len(attempts) <= 2:
                barrier.wait(30)
        take_locks(*args)

    monkeypatch.setattr(write, "take_locks", together)
    return attempts


def create(store: MongoStore, type: str, id: str, index: dict[str, Any], *guards: Guard) -> Callable[[], object]:
    return lambda: store.commit([Change(type, id, None, "POST", b"", b"", index)], guards)


def outcomes(*calls: Callable[[], object]) -> list[str]:
    found: list[str] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
            found.append("stored")
        except GuardChanged:
            found.append("guard")
        except Exception as problem:
            found.append(repr(problem))

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A, A),
        (A, And((X, A))),
        (A, Token("id", None, "a")),
        (A, B),
        (Or((A, Token("id", "s", "c"))), B),
        (A, X),
        (X, Y),
        (X, Not(B)),
        (And((A, Not(Chain("of", "Other", B)))), B),
    ],
)
def test_of_two_that_would_each_be_seen_by_the_other_one_wins(
    make_store: Callable[..., MongoStore], overlapping: list[int], one: Condition, other: Condition
) -> None:
    """`Not(B)` sees nothing before as there is nothing: afterwards only what lacks B would be seen."""
    store = make_store(SCHEMA)
    store.commit([Change("Thing", "z", None, "PUT", index={"id": [("s", "b")]}), Change("Other", "z", None, "PUT")])
    store.commit([Change("Thing", "z", 1, "DELETE", deleted=True)])
    index = BOTH if other != Not(B) else {"id": [("s", "a")], "name": BOTH["name"]}

    found = outcomes(
        create(store, "Thing", "one", index, Guard("Thing", one, frozenset())),
        create(store, "Thing", "two", index, Guard("Thing", other, frozenset())),
    )

    assert found == ["guard", "stored"]


def test_guards_that_look_at_what_the_other_type_gets_meet(
    make_store: Callable[..., MongoStore], overlapping: list[int]
) -> None:
    store = make_store(SCHEMA)
    store.commit([Change("Thing", "z", None, "PUT"), Change("Other", "z", None, "PUT")])

    found = outcomes(
        create(store, "Thing", "one", BOTH, Guard("Other", X, frozenset())),
        create(store, "Other", "two", BOTH, Guard("Thing", X, frozenset())),
    )

    assert found == ["guard", "stored"]


def test_what_an_update_takes_away_counts_too(make_store: Callable[..., MongoStore], overlapping: list[int]) -> None:
    """Each resource loses the identifier that the other commit must still see."""
    store = make_store(SCHEMA)
    changes = [Change("Thing", id, None, "PUT", index={"id": [("s", id)]}) for id in "ab"]
    store.commit(changes)

    found = outcomes(
        lambda: store.commit([Change("Thing", "a", 1, "PUT", index={})], [Guard("Thing", B, frozenset("b"))]),
        lambda: store.commit([Change("Thing", "b", 1, "PUT", index={})], [Guard("Thing", A, frozenset("a"))]),
    )

    assert found == ["guard", "stored"]


def test_those_that_name_other_identifiers_do_not_meet(
    make_store: Callable[..., MongoStore], overlapping: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(SCHEMA)
    store.commit([Change("Thing", "z", None, "PUT")])
    free = iter(SHARD_IDS)
    monkeypatch.setattr("random.choice", lambda shards: next(free))  # no two on one shard

    found = outcomes(
        create(store, "Thing", "one", {"id": [("s", "a")]}, Guard("Thing", A, frozenset())),
        create(store, "Thing", "two", {"id": [("s", "b")]}, Guard("Thing", B, frozenset())),
    )

    assert found == ["stored", "stored"]
    assert len(overlapping) == 2


def test_a_creation_and_a_deletion_of_what_never_was_meet(
    make_store: Callable[..., MongoStore], overlapping: list[int]
) -> None:
    store = make_store(SCHEMA)
    store.commit([Change("Thing", "z", None, "PUT")])

    found = outcomes(
        lambda: store.commit([Change("Thing", "a", None, "PUT")]),
        lambda: store.commit([Change("Thing", "a", None, "DELETE", deleted=True)]),
    )

    assert len(found) == 2
    assert "VersionConflict" in found[0]
    assert [entry.version for entry in store.history("Thing", "a").entries] == [1]
