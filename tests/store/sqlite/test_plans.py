"""Whatever the plan, the answer is the same: plans that need many resources are forced on few."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import naive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sizes import size

from fhirstore.model.conditions import (
    And,
    Condition,
    Date,
    Or,
    Present,
    Sort,
)
from fhirstore.model.stored import Change
from fhirstore.store.sqlite import SqliteStore, compile, search, walk

CASES = size("STORE_CASES", quick=300, deep=3000)

World = tuple[SqliteStore, naive.World]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = SqliteStore(str(tmp_path_factory.mktemp("world") / "store.db"))
    store.open(naive.schema())
    world = naive.World()
    world.fill(store, random.Random(7), 150)
    yield store, world
    store.close()


searches: dict[str, Any] = {
    "type": st.sampled_from(naive.TYPES),
    "where": naive.conditions,
    "sort": naive.sorts,
    "size": st.integers(1, 7),
}
quietly = settings(max_examples=CASES // 2, derandomize=True, deadline=None, database=None)


budgets = st.sampled_from([search.ALL, 1, 2, 5, 20, 80])


@contextmanager
def walking(budget: int) -> Iterator[None]:
    """Pages come from walks along the order, that look at so many resources before they are given up."""

    def along(self: search.SqliteSearch, where: Condition, need: int | None) -> int:
        if need is None:
            return 0
        return search.ALL if self.planner.access_path(self.type, where) is None else budget

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.SqliteSearch, "budget", along)
        patch.setattr(walk, "_TIES", 1)
        patch.setattr(search, "_CAPS", (1, 2, 4))
        yield


@quietly
@given(budget=budgets, **searches)
def test_a_walk_along_the_order_finds_the_same(
    world: World, budget: int, type: str, where: Condition, sort: list[Sort], size: int
) -> None:
    with walking(budget):
        naive.compare(*world, type, where, sort, size)


@quietly
@given(
    param=naive.dates,
    low_ge=naive.times,
    low_lt=naive.times,
    high_gt=naive.times,
    rest=naive.leaves,
    descending=st.booleans(),
    size=st.integers(1, 5),
    budget=budgets,
)
def test_a_walk_that_the_search_itself_bounds_finds_the_same(
    world: World,
    param: str,
    low_ge: int | None,
    low_lt: int | None,
    high_gt: int | None,
    rest: Condition,
    descending: bool,
    size: int,
    budget: int,
) -> None:
    where = And((Date(param, low_ge, low_lt, None, high_gt), Or((rest, Present("num")))))
    with walking(budget):
        naive.compare(*world, "Thing", where, [Sort(param, descending)], size)


@pytest.mark.parametrize("descending", [False, True])
def test_a_bounded_walk_begins_and_ends_where_the_bounds_are(store: SqliteStore, descending: bool) -> None:
    store.commit([Change("Thing", f"i{n}", None, "PUT", index={"day1": [(n, n + 1)]}) for n in range(9)])
    with walking(search.ALL):
        page = store.find("Thing", Date("day1", low_ge=3, low_lt=7), [Sort("day1", descending)], limit=20)

    assert sorted(entry.id for entry in page.entries) == ["i3", "i4", "i5", "i6"]


@quietly
@given(**searches)
def test_checks_moved_out_of_their_place_find_the_same(
    world: World, type: str, where: Condition, sort: list[Sort], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile, "_DEEPEST_CHECK", 1)
        naive.compare(*world, type, where, sort, size)
