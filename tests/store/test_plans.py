"""Whatever the plan, the answer is the same: plans that need many resources are forced on few."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import naive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirstore.store.base import Condition, Sort
from fhirstore.store.sqlite import SqliteStore, compile, find, plan

CASES = int(os.environ.get("STORE_CASES", "300"))

World = tuple[SqliteStore, naive.World]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = SqliteStore(str(tmp_path_factory.mktemp("world") / "store.db"))
    store.open(naive.schema())
    world = naive.World()
    world.fill(store, random.Random(7), 150)
    yield store, world
    store.close()


searches = given(type=st.sampled_from(naive.TYPES), where=naive.conditions, sort=naive.sorts, size=st.integers(1, 7))
quietly = settings(max_examples=CASES // 2, derandomize=True, deadline=None, database=None)


@pytest.fixture(scope="module")
def everything_is_much() -> Iterator[None]:
    """One row is many: searches walk along the order, with budgets that run out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "FEW", 1)
        patch.setattr(find, "FEW", 1)
        patch.setattr(plan, "_CAPS", (1, 2, 4))
        patch.setattr(find, "_TIES", 1)
        yield


@pytest.fixture(scope="module")
def nothing_may_nest() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile, "_DEEPEST_CHECK", 0)
        yield


@quietly
@searches
@pytest.mark.usefixtures("everything_is_much")
def test_a_walk_along_the_order_finds_the_same(
    world: World, type: str, where: Condition, sort: list[Sort], size: int
) -> None:
    naive.compare(*world, type, where, sort, size)


@quietly
@searches
@pytest.mark.usefixtures("nothing_may_nest")
def test_checks_moved_out_of_their_place_find_the_same(
    world: World, type: str, where: Condition, sort: list[Sort], size: int
) -> None:
    naive.compare(*world, type, where, sort, size)
