"""The commands of each call: how many, that their number does not grow with the store, and which index serves them.

Whether a server uses an index cannot be seen on the stand-in. So the filters that are sent are compared with the
definitions of the indexes: one part of each must test the first field of an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import naive
import pytest

from fhirstore.model.conditions import (
    MATCH_ALL,
    And,
    Chain,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    Sort,
    String,
    Token,
    Uri,
)
from fhirstore.model.stored import Change, Guard, Record
from fhirstore.store.mongo import MongoStore, clock, joins
from fhirstore.store.mongo.clock import SHARD_IDS
from fhirstore.store.mongo.indexes import declared
from fhirstore.store.mongo.schema import make_layout

Commands = Any  # see conftest.py
LAYOUT = make_layout(naive.schema())

FINDS: list[tuple[Condition, list[Sort], list[str]]] = [
    (MATCH_ALL, [], ["find"]),
    (Token("tok", "s", "c"), [], ["find"]),
    (Token("tok", "s", None), [], ["find"]),
    (Token("tok1", None, "c"), [Sort("day1")], ["find"]),
    (Or(tuple(Token("tok", "s", f"c{n}") for n in range(500))), [], ["find"]),
    (String("str", "prefix", "a"), [], ["find"]),
    (String("str", "exact", "a"), [Sort("str"), Sort("num", True)], ["find"]),
    (String("str", "contains", "a"), [], ["find"]),
    (Date("day", low_lt=5, high_gt=4), [Sort("_lastUpdated", True)], ["find"]),
    (Date("day1", low_ge=5, high_le=9), [Sort("day1", True)], ["find"]),
    (Number("num", ge="1", lt="2"), [], ["find"]),
    (Number("qty", ge="1", code="mg"), [], ["find"]),
    (Reference("ref", ("Other/a", "Other/b")), [], ["find"]),
    (Uri("uri", "u", "below"), [], ["find"]),
    (Uri("uri", "u", "above"), [], ["find"]),
    (Present("tok"), [], ["find"]),
    (Not(Present("tok")), [], ["find"]),
    (Ids(("a", "b")), [], ["find"]),
    (LastUpdated(ge=5), [Sort("_lastUpdated")], ["find"]),
    (
        And((Reference("ref1", ("Other/a",)), Token("tok1", None, "c"), Date("day1", low_ge=1))),
        [Sort("day1")],
        ["find"],
    ),
    (Chain("ref1", "Other", Token("tok", "s", "c")), [], ["find", "find", "abortTransaction"]),
    (ReverseChain("Other", "ref", Token("tok", "s", "c")), [], ["find", "find", "find", "abortTransaction"]),
]


def parts(where: dict[str, Any]) -> Iterator[str]:
    """The fields that all documents found must pass a test of."""
    for name, test in where.items():
        if name == "$and":
            for one in test:
                yield from parts(one)
        elif name == "$or":
            several = [set(parts(one)) for one in test]
            yield from set.intersection(*several)
        elif isinstance(test, dict) and "$elemMatch" in test and not any(key[0] == "$" for key in test["$elemMatch"]):
            yield from (f"{name}.{member}" for member in test["$elemMatch"])
        else:
            yield name


def served(command: dict[str, Any]) -> bool:
    where, order = command["filter"], list(command.get("sort", {}).items())
    indexes = declared(LAYOUT, command["find"])
    tested = set(parts(where))
    if "_id" in tested or any(index.fields[0][0] in tested for index in indexes):
        return True
    return not where and (not order or order == [("_id", 1)] or any(list(i.fields) == order for i in indexes))


def fill(store: MongoStore, size: int) -> None:
    store.commit([Change("Other", f"o{n}", None, "PUT", index={"tok": [("s", f"c{n}")]}) for n in range(size)])
    store.commit(
        [
            Change("Thing", f"t{n}", None, "PUT", index={"tok": [("s", "c")], "ref1": [(f"Other/o{n}",)]})
            for n in range(size)
        ]
    )


@pytest.mark.parametrize(("where", "sort", "expected"), FINDS)
def test_a_search_sends_this_many_commands_each_with_an_index(
    store: MongoStore, commands: Commands, where: Condition, sort: list[Sort], expected: list[str]
) -> None:
    store.commit(
        [
            Change("Thing", "t", None, "PUT", index={"tok": [("s", "c")]}),
            Change("Other", "o", None, "PUT", index={"tok": [("s", "c")], "ref": [("Thing/t",)]}),
        ]
    )
    with commands.heard() as heard:
        store.find("Thing", where, sort, limit=50)

    assert [name for name, _ in heard] == expected
    for name, command in heard:
        assert name != "find" or served(command), command
        assert name != "find" or command["maxTimeMS"] > 0


def test_a_compound_index_is_offered_what_it_is_made_of(store: MongoStore, commands: Commands) -> None:
    where = And(
        (Reference("ref1", ("Other/a",)), Token("tok1", "s", "free"), Date("day1", low_ge=1), Date("day1", high_le=9))
    )
    with commands.heard() as heard:
        store.find("Thing", where, limit=5)

    [compound] = [index for index in declared(LAYOUT, "Thing") if index.name.startswith("compound")]
    tested = set(parts(heard[0][1]["filter"]))
    assert {path for path, _ in compound.fields} - {"_id"} <= tested


@pytest.mark.parametrize(
    "where",
    [
        Token("tok", "s", "c"),
        Chain("ref1", "Other", MATCH_ALL),
        Chain("ref1", "Other", Token("tok", "s", "c1")),
        Not(ReverseChain("Thing", "ref1", MATCH_ALL)),
    ],
)
def test_the_commands_of_a_page_do_not_grow_with_the_store(
    store: MongoStore, commands: Commands, where: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joins, "FEW", 5)
    counts = []
    index = {"tok": [("s", "c")], "ref1": [("Other/o1",)]}
    fill(store, 80)
    for size in (0, 150):
        store.commit([Change("Thing", f"u{n}", None, "PUT", index=index) for n in range(size)])
        with commands.heard() as heard:
            store.find("Thing", where, limit=10)
        counts.append(len(heard))
        assert all(name != "getMore" for name, _ in heard)

    assert counts[0] == counts[1] <= 8


def test_no_list_of_a_join_is_cut(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "FEW", 3)
    monkeypatch.setattr(joins, "BATCH", 4)
    fill(store, 30)

    for where in (Chain("ref1", "Other", MATCH_ALL), Chain("ref1", "Other", Not(Token("tok", "s", "c0")))):
        expected = 30 if where.where == MATCH_ALL else 29
        assert len(store.find("Thing", where).entries) == expected
        assert store.count("Thing", where) == expected
        assert store.count("Thing", Not(where)) == 30 - expected
    assert store.count("Other", ReverseChain("Thing", "ref1", Token("tok", "s", "c"))) == 30
    assert store.count("Other", Not(ReverseChain("Thing", "ref1", Token("tok", "s", "c")))) == 0


def test_a_commit_begins_at_the_clock_and_sends_this_many_commands(store: MongoStore, commands: Commands) -> None:
    store.commit([Change("Thing", "z", None, "PUT")])

    with commands.heard() as heard:
        store.commit([Change("Thing", f"a{n}", None, "PUT", index={"tok": [("s", "c")]}) for n in range(20)])
    assert [name for name, _ in heard] == [
        "findAndModify",  # a shard of the clock
        "find",  # what is replaced
        "aggregate",  # what was deleted
        "insert",
        "insert",  # the log
        "commitTransaction",
    ]
    assert heard[0][1]["query"]["_id"] in SHARD_IDS
    assert heard[0][1]["startTransaction"] is True
    assert heard[0][1]["readConcern"]["level"] == "snapshot"
    assert heard[-1][1]["writeConcern"] == {"w": "majority"}

    time_has_passed(store)
    with commands.heard() as heard:
        store.commit(
            [Change("Thing", "a1", 1, "PUT"), Change("Thing", "a2", 1, "DELETE", deleted=True)],
            [Guard("Thing", Token("tok", "s", "c"), frozenset(f"a{n}" for n in range(20)))],
            [Record("k", "1", b"x")],
        )
    assert [(name, command[name]) for name, command in heard] == [
        ("findAndModify", "keys"),
        ("find", "Thing"),  # the guard
        ("find", "Thing"),
        ("update", "keys"),  # the lock_keys of the guard
        ("update", "Thing"),
        ("delete", "Thing"),
        ("insert", "Thing_history"),
        ("insert", "log"),
        ("update", "records"),
        ("commitTransaction", 1),
    ]
    update = next(command for name, command in heard if name == "update" and command["update"] == "Thing")
    assert update["updates"][0]["q"] == {"_id": "a1", "v": 1}


def time_has_passed(store: MongoStore) -> None:
    """A commit in the same millisecond as the version it replaces would advance its shard once more."""
    then = clock.now()
    while clock.now() <= then:
        pass


def test_reads_send_one_command(store: MongoStore, commands: Commands) -> None:
    fill(store, 5)
    calls: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: store.read("Thing", "t1"), ["find"]),
        (lambda: store.read("Thing", "none"), ["find", "find"]),
        (lambda: store.count("Thing", Token("tok", "s", "c"), 3), ["aggregate"]),
        (lambda: store.read_many([f"Thing/t{n}" for n in range(5)] + ["Other/o1"]), ["find", "find"]),
        (
            lambda: store.history("Thing", limit=3),
            ["find", "update", "find", "find"],
        ),  # the barrier, the log, the versions
        (lambda: store.history("Thing", "t1", limit=3), ["find", "find"]),
        (lambda: store.records("k"), ["find"]),
        (lambda: store.get_record("k", "1"), ["find"]),
    ]
    for call, expected in calls:
        with commands.heard() as heard:
            call()
        assert [name for name, _ in heard] == expected
