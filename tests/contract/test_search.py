"""Searches that random worlds are too small for: long lists, deep nesting, paging while others write, time limits."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import naive
import pytest

from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
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
from fhirstore.model.stored import Change
from fhirstore.store.errors import StoreError, TimedOut
from fhirstore.store.protocol import Store


def thing(id: str, replaces: int | None = None, **index: Any) -> Change:
    return Change("Thing", id, replaces, "PUT", b"", b'"n":1', index)


def ids(store: Store, where: Condition, sort: Sequence[Sort] = ()) -> list[str]:
    return [entry.id for entry in store.find("Thing", where, sort).entries]


def test_ids_come_in_ascending_order_of_code_points(store: Store) -> None:
    store.commit([thing(id) for id in ("b", "B", "10", "9", "a-b", "a.b")])

    assert ids(store, MATCH_ALL) == ["10", "9", "B", "a-b", "a.b", "b"]
    assert ids(store, MATCH_ALL, [Sort("_id", descending=True)]) == ["b", "a.b", "a-b", "B", "9", "10"]
    assert ids(store, MATCH_NONE) == []


def test_a_type_whose_name_begins_like_another_is_another(store: Store) -> None:
    store.commit([thing("a"), Change("Thin", "a", None, "PUT", b"", b"", {"ref": [("Thing/a",)]})])

    assert store.find("Thin", Chain("ref", "Thin", MATCH_ALL)).entries == []
    assert len(store.find("Thin", Chain("ref", "Thing", MATCH_ALL)).entries) == 1


def test_lists_of_thousands_are_possible(store: Store) -> None:
    many = range(5000)
    store.commit([thing("a", tok=[("s", "c7")], str=[("n7x", "N7x")], ref=[("Other/7",)], uri=[("u7",)], day=[(7, 8)])])
    lists: list[Condition] = [
        Or(tuple(Token("tok", "s", f"c{n}") for n in many)),
        Or(tuple(Token("tok", None, f"c{n}") for n in many)),
        Or(tuple(String("str", "prefix", f"n{n}") for n in many[:2000])),
        Or(tuple(String("str", "exact", f"N{n}x") for n in many[:2000])),
        Or(tuple(Date("day", low_ge=n, high_gt=n, low_lt=n + 1) for n in many[:2000])),
        Reference("ref", tuple(f"Other/{n}" for n in many)),
        Or(tuple(Uri("uri", f"u{n}") for n in many)),
        Ids((*(f"i{n}" for n in many), "a")),
    ]
    for where in lists:
        assert ids(store, where) == ["a"]
        assert ids(store, Not(where)) == []
        assert ids(store, And((Present("tok"), where))) == ["a"]


@pytest.mark.parametrize("depth", [2, 6, 12])
def test_joins_nest(store: Store, depth: int) -> None:
    store.commit([thing(f"i{n}", ref=[(f"Thing/i{n + 1}",)]) for n in range(20)] + [thing("i20", tok=[("", "end")])])
    down: Condition = Token("tok", None, "end")
    up: Condition = Ids(("i0",))
    for _ in range(depth):
        down, up = Chain("ref", "Thing", down), ReverseChain("Thing", "ref", up)

    assert ids(store, down) == [f"i{20 - depth}"]
    assert ids(store, up) == [f"i{depth}"]
    assert ids(store, And((down, up))) == ([f"i{depth}"] if depth == 10 else [])


def test_what_nests_too_deeply_is_refused_by_name(store: Store) -> None:
    where: Condition = Token("tok", None, "x")
    for _ in range(500):
        where = Not(And((where, Present("str"))))

    with pytest.raises(StoreError):
        store.find("Thing", where)


def test_a_chain_needs_a_live_target(store: Store) -> None:
    store.commit([thing("a", ref=[("Other/o",)]), Change("Other", "o", None, "PUT")])
    assert ids(store, Chain("ref", "Other", MATCH_ALL)) == ["a"]

    store.commit([Change("Other", "o", 1, "DELETE", deleted=True)])

    assert ids(store, Chain("ref", "Other", MATCH_ALL)) == []
    assert ids(store, Reference("ref", ("Other/o",))) == ["a"]


def test_one_date_must_satisfy_all_bounds_of_one_condition(store: Store) -> None:
    store.commit([thing("a", day=[(0, 10), (90, 100)]), thing("b", day=[(40, 60)])])

    assert ids(store, Date("day", low_ge=20, high_le=80)) == ["b"]
    assert ids(store, And((Date("day", low_ge=20), Date("day", high_le=80)))) == ["a", "b"]


def test_a_period_without_end_reaches_any_instant(store: Store) -> None:
    store.commit([thing("a", day=[(10, 2**62)]), thing("b", day=[(-(2**62), 10)]), thing("c", day=[(-(2**62), 2**62)])])

    assert ids(store, Date("day", high_gt=naive.DAY * 99_999)) == ["a", "c"]
    assert ids(store, Date("day", low_lt=-naive.DAY * 99_999)) == ["b", "c"]


def test_ends_within_the_same_second_are_distinguished(store: Store) -> None:
    store.commit([thing(f"i{n}", day=[(n * 1000, n * 1000 + 1000)], day1=[(0, n * 1000)]) for n in range(1, 8)])

    assert ids(store, Date("day", high_gt=4500)) == ["i4", "i5", "i6", "i7"]
    assert ids(store, Date("day1", high_gt=4500)) == ["i5", "i6", "i7"]


def test_of_two_bounds_of_one_date_the_tighter_one_holds(store: Store) -> None:
    store.commit([thing(f"i{n}", day1=[(n, n + 1)]) for n in range(9)])

    assert ids(store, And((Date("day1", low_ge=2), Date("day1", low_ge=4), Date("day1", low_ge=3)))) == [
        f"i{n}" for n in range(4, 9)
    ]
    assert ids(store, And((Date("day1", high_le=6), Date("day1", low_lt=5), Date("day1", high_le=3)))) == [
        "i0",
        "i1",
        "i2",
    ]
    assert ids(store, And((Date("day1", high_gt=6), Date("day1", high_gt=8), Date("day1", low_lt=8)))) == []


@pytest.mark.parametrize("prefix", ["\ud7ff", "a\ud7ff", "\U0010ffff", "a\U0010ffff", "\U0010ffff\U0010ffff", "z"])
def test_any_character_may_end_a_prefix(store: Store, prefix: str) -> None:
    texts = [prefix, prefix + "\U0010ffff", prefix + "a", prefix[:-1] + "\ue000", prefix[:-1] + "\ud7fe", "b"]
    store.commit([thing(f"i{n}", str=[(text, text)], uri=[(text,)]) for n, text in enumerate(texts)])
    expected = [f"i{n}" for n, text in enumerate(texts) if text.startswith(prefix)]

    assert ids(store, String("str", "prefix", prefix)) == expected
    assert ids(store, Uri("uri", prefix, "below")) == expected


def test_units_are_compared_whole(store: Store) -> None:
    store.commit(
        [
            thing("a", qty=[("1", "s", "mg", "milligram")]),
            thing("b", qty=[("1", "s", "g|m", "g")]),
            thing("c", qty=[("1", "", "", "mg")]),
            thing("d", qty=[("1", "s|g", "m", "")]),
        ]
    )

    assert ids(store, Number("qty", code="mg")) == ["a", "c"]
    assert ids(store, Number("qty", system="s", code="mg")) == ["a"]
    assert ids(store, Number("qty", system="s")) == ["a", "b"]
    assert ids(store, Number("qty", system="", code="")) == ["c"]
    assert ids(store, Number("qty", code="m")) == ["d"]


def test_updated_bounds_the_time_of_the_current_version(store: Store) -> None:
    world = naive.World()
    world.fill(store, random.Random(3), 40)
    times = sorted(world.updated.values())
    for ge in (None, times[0], times[5], times[5] + 1, times[-1] + 1):
        for lt in (None, times[0], times[9], times[9] + 1, times[-1] + 1):
            naive.compare(store, world, "Thing", LastUpdated(ge, lt), [Sort("_lastUpdated", descending=True)], 3)
            naive.compare(store, world, "Thing", And((Present("tok"), LastUpdated(ge, lt))), [], 3)


@pytest.mark.parametrize(
    "sort", [[], [Sort("num")], [Sort("num", True), Sort("tok")], [Sort("_lastUpdated")], [Sort("day1", True)]]
)
@pytest.mark.parametrize("where", [MATCH_ALL, Token("tok1", None, "yes")])
def test_what_stays_as_it_is_is_seen_once_whatever_is_written_between_pages(
    store: Store, where: Condition, sort: list[Sort]
) -> None:
    rng = random.Random(5)

    def change(id: str, replaces: int | None) -> Change:
        index: dict[str, Any] = {"tok1": [("", "yes")], "tok": [("", rng.choice("abc"))]}
        if rng.random() < 0.7:
            index |= {"num": [(str(rng.randrange(5)),)], "day1": [((day := rng.randrange(9)), day + 1)]}
        return thing(id, replaces, **index)

    store.commit([change(f"i{n:02}", None) for n in range(60)])
    restless = {f"i{n:02}": 1 for n in range(0, 60, 3)}
    seen: list[str] = []
    page = store.find("Thing", where, sort, limit=4)
    for turn in range(1000):
        seen += [entry.id for entry in page.entries]
        if page.next is None:
            break
        id = rng.choice(sorted(restless))
        store.commit([change(id, restless[id]), change(f"new{turn}", None)])
        restless[id] += 1
        page = store.find("Thing", where, sort, page.next, 4)

    quiet = [id for id in seen if not id.startswith("new") and id not in restless]
    assert sorted(quiet) == [f"i{n:02}" for n in range(60) if n % 3]


def test_many_resources_are_paged_in_any_order(store: Store, share: int) -> None:
    rng = random.Random(9)
    world = naive.World()
    changes = []
    for n in range(3000 // share):
        index: dict[str, Any] = {"tok": [("", rng.choice("ab"))], "str": [(f"{rng.randrange(900):03}", "")]}
        if n % 7:
            index["num"] = [(str(rng.randrange(3)),)]
        changes.append(thing(f"i{n}", **index))
        world.index["Thing", f"i{n}"] = index
    for stored in store.commit(changes):
        world.updated["Thing", stored.id] = stored.updated
    where = Token("tok", None, "a")
    for sort in (
        [],
        [Sort("str")],
        [Sort("num", True), Sort("str")],
        [Sort("_lastUpdated", True)],
        [Sort("_id", True)],
    ):
        expected = world.ordered("Thing", where, sort)
        assert naive.pages(store, "Thing", where, sort, 333 // share) == expected
        assert [one.id for one in store.find("Thing", where, sort, limit=20).entries] == expected[:20]


def test_a_page_of_nothing_is_empty(store: Store) -> None:
    store.commit([thing("a")])

    assert store.find("Thing", MATCH_ALL, limit=0) == ([], None)


def test_what_has_an_entry_twice_counts_once(store: Store) -> None:
    store.commit([thing("a", tok=[("s", "x"), ("t", "x"), ("s", "y")], str=[("ab", "ab"), ("abc", "abc")])])

    for where in (Token("tok", None, "x"), Or((Token("tok", "s", "x"), Token("tok", "s", "y"))), Present("tok")):
        assert store.count("Thing", where) == 1
    assert store.count("Thing", String("str", "prefix", "a")) == 1


def test_a_page_token_goes_through_json(store: Store) -> None:
    store.commit([thing(f"i{n}", str=[("\ud7ff\U0010ffff", "")]) for n in range(4)])
    sort = [Sort("str"), Sort("day")]
    page = store.find("Thing", MATCH_ALL, sort, limit=2)

    rest = store.find("Thing", MATCH_ALL, sort, json.loads(json.dumps(page.next)))

    assert [entry.id for entry in rest.entries] == ["i2", "i3"]


def test_all_reads_inside_reading_see_one_state(store: Store, make_store: Callable[..., Store]) -> None:
    other = make_store()
    store.commit([thing("a", tok=[("", "x")])])

    with store.snapshot():
        assert ids(store, MATCH_ALL) == ["a"]
        other.commit([thing("b"), Change("Thing", "a", 1, "DELETE", deleted=True)])
        with store.snapshot():
            assert ids(store, MATCH_ALL) == ["a"]
        assert store.count("Thing", MATCH_ALL) == 1
        assert [one.ref for one in store.read_many(["Thing/a", "Thing/b"])] == ["Thing/a"]

    assert ids(store, MATCH_ALL) == ["b"]


def test_a_parameter_that_is_not_indexed_is_refused(store: Store) -> None:
    for where in (Token("nope", None, "x"), Chain("ref", "Other", Token("nope", None, "x"))):
        with pytest.raises(ValueError, match="nope"):
            store.find("Thing", where)


def test_reads_end_at_the_deadline_of_the_thread(store: Store) -> None:
    store.commit([thing("a", ref=[("Thing/a",)])])
    sources = store.find("Thing", MATCH_ALL).entries

    with store.deadline(time.monotonic() - 1):
        for read in (
            lambda: store.find("Thing", MATCH_ALL),
            lambda: store.find("Thing", Chain("ref", "Thing", MATCH_ALL), [Sort("_lastUpdated")]),
            lambda: store.count("Thing", MATCH_ALL),
        ):
            with pytest.raises(TimedOut):
                read()

    assert store.find("Thing", MATCH_ALL).entries == sources


def test_a_search_in_a_snapshot_ends_at_the_deadline(store: Store) -> None:
    store.commit([thing("a")])

    with pytest.raises(TimedOut), store.deadline(time.monotonic() - 1), store.snapshot():
        store.find("Thing", MATCH_ALL)

    assert ids(store, MATCH_ALL) == ["a"]
    assert len(store.commit([thing("b")])) == 1


def test_the_earliest_deadline_counts(store: Store) -> None:
    store.commit([thing("a")])
    late = time.monotonic() + 3600

    with store.deadline(time.monotonic() - 1):
        for inner in (late, None):
            with store.deadline(inner), pytest.raises(TimedOut):
                store.count("Thing", MATCH_ALL)
    with store.deadline(late):
        with store.deadline(time.monotonic() - 1), pytest.raises(TimedOut):
            store.count("Thing", MATCH_ALL)
        assert store.count("Thing", MATCH_ALL) == 1


def test_a_deadline_binds_one_thread(store: Store) -> None:
    store.commit([thing("a")])

    with store.deadline(time.monotonic() - 1), ThreadPoolExecutor(1) as other:
        assert other.submit(store.count, "Thing", MATCH_ALL).result() == 1
