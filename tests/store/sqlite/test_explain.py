"""The statements that searches run use the indexes meant for them, whatever SQLite thinks of the data."""

from __future__ import annotations

import random
from collections.abc import Iterator

import naive
import pytest

from fhirstore.model.conditions import (
    MATCH_ALL,
    And,
    Chain,
    Condition,
    Date,
    Not,
    Number,
    Or,
    Present,
    ReverseChain,
    Sort,
    String,
    Token,
    Uri,
)
from fhirstore.model.stored import Change
from fhirstore.store.sqlite import SqliteStore

SAS = And(
    (
        Chain(
            "ref1",
            "Other",
            Chain("ref", "Thin", Or(tuple(Token("tok", "urn:rpps", f"81{n}") for n in range(5)))),
        ),
        Token("tok1", None, "free"),
        Date("day1", low_ge=10),
        Date("day1", low_lt=20),
    )
)
NAME_GENDER_BIRTHDATE = And(
    (String("str", "prefix", "martin"), Token("tok1", None, "male"), Date("day1", 10, None, 20))
)


def plans(store: SqliteStore, where: Condition, sort: list[Sort], limit: int | None) -> list[str]:
    """The plan of each statement that the search runs, one line per step."""
    statements: list[str] = []
    conn = store.connections.session().conn
    conn.set_trace_callback(statements.append)
    try:
        store.find("Thing", where, sort, None, limit)
    finally:
        conn.set_trace_callback(None)
    return [
        "\n".join(row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}"))
        for statement in statements
        if statement.startswith(("SELECT", "WITH"))
    ]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """A store that tests only search."""
    store = SqliteStore(str(tmp_path_factory.mktemp("explain") / "store.db"))
    store.open(naive.schema())
    naive.World().fill(store, random.Random(2), 100)
    yield store
    store.close()


def test_the_slots_of_practitioners_come_from_the_compound_index(filled: SqliteStore) -> None:
    listing, plan, *_ = plans(filled, SAS, [], None)

    assert "USING PRIMARY KEY (p=? AND k=? AND x=?)" in listing
    assert "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert "USING PRIMARY KEY (c=? AND k1=? AND k2=? AND k3>? AND k3<?)" in plan
    assert "USING PRIMARY KEY (p=? AND k=? AND x=?)" not in plan
    assert "SCAN d" not in plan


def test_a_person_is_found_by_the_fewest_rows_and_checked_by_resource(filled: SqliteStore) -> None:
    [*_, plan] = plans(filled, NAME_GENDER_BIRTHDATE, [Sort("day1", descending=True)], 50)

    assert "USING PRIMARY KEY (p=? AND k>? AND k<?)" in plan
    assert "USING COVERING INDEX ix_r (r=? AND p=? AND k=?)" in plan
    assert "USING COVERING INDEX ix_r (r=? AND p=?" in plan


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("sort", [[], [Sort("day1")], [Sort("str", True), Sort("num")], [Sort("_lastUpdated", True)]])
@pytest.mark.parametrize(
    "where",
    [
        MATCH_ALL,
        SAS,
        NAME_GENDER_BIRTHDATE,
        Date("day", high_gt=5),
        Not(Token("tok", None, "a")),
        Not(Present("day")),
        Chain("ref", "Other", Chain("ref", "Thing", Token("tok", "a", "b"))),
        ReverseChain("Other", "ref", Token("tok", "a", "b")),
        And((ReverseChain("Other", "ref", Not(Token("tok", "a", "b"))), Uri("uri", "abc", "above"))),
        Or((Token("tok", None, "a"), Number("num", ge="1"), Chain("ref", "Thin", Present("tok")))),
        Or(tuple(Token("tok", "s", code) for code in "abcde")),
    ],
    ids=lambda where: type(where).__name__,
)
def test_no_search_scans_a_table(filled: SqliteStore, where: Condition, sort: list[Sort], limit: int | None) -> None:
    tables = ("docs", "ix", "cx", "log", "versions", "d", "i", "c", "f")
    for plan in plans(filled, where, sort, limit):
        scanned = [line for line in plan.splitlines() if line.startswith("SCAN ")]
        assert [line for line in scanned if line.split()[1].rstrip("0123456789") in tables] == []


def test_what_does_not_match_costs_nothing(store: SqliteStore) -> None:
    """The steps of SQLite's machine, counted: the same on 30 times the data."""

    def slots(schedule: int, count: int) -> list[Change]:
        return [Change("Thing", f"s{schedule}-{n}", None, "PUT", b"", b"", _slot(schedule, n)) for n in range(count)]

    store.commit([Change("Thin", "p", None, "PUT", b"", b"", {"tok": [("urn:rpps", "811")]})])
    store.commit([Change("Other", "o0", None, "PUT", b"", b"", {"ref": [("Thin/p",)]})])
    store.commit(slots(0, 40))
    before = _steps(store, SAS, 10)
    for schedule in range(1, 31):
        store.commit(slots(schedule, 40))

    assert _steps(store, SAS, 10) <= before * 1.3


@pytest.mark.parametrize("width", [1, 3600 * 10**6, naive.DAY, 30 * naive.DAY])
def test_dates_that_ended_before_cost_nothing(store: SqliteStore, width: int) -> None:
    def dated(name: str, first: int, count: int) -> list[Change]:
        days = [(first + n) * 400 * naive.DAY for n in range(count)]
        return [
            Change("Thing", f"{name}{n}", None, "PUT", b"", b"", {"day": [(day, day + width)]})
            for n, day in enumerate(days)
        ]

    where = Date("day", high_gt=0)
    store.commit(dated("new", 0, 40))
    before = _steps(store, where, 40)
    store.commit(dated("old", -1200, 1200))

    assert _steps(store, where, 40) <= before * 1.3


def _slot(schedule: int, n: int) -> dict[str, list[tuple[object, ...]]]:
    return {"ref1": [(f"Other/o{schedule}",)], "tok1": [("", "free")], "day1": [(n, n + 1)]}


def _steps(store: SqliteStore, where: Condition, found: int) -> int:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    conn = store.connections.session().conn
    conn.set_progress_handler(step, 1)
    try:
        assert len(store.find("Thing", where).entries) == found
    finally:
        conn.set_progress_handler(None, 0)
    return steps
