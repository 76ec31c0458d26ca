"""Random conditions, sorts and page sizes on random worlds, against the naive model.

STORE_CASES in the environment says how many (default 300; a tenth of them on MongoDB).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import naive
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.base import Condition, Sort, Store

CASES = int(os.environ.get("STORE_CASES", "300"))
COUNT = 3

Worlds = list[tuple[Store, naive.World]]


@pytest.fixture(scope="module")
def worlds(engine: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    made: Worlds = []
    for seed in range(COUNT):
        store = open_store(engine(tmp_path_factory.mktemp("world")), Settings())
        store.open(naive.schema())
        world = naive.World()
        world.fill(store, random.Random(seed), 30 + 60 * seed)
        made.append((store, world))
    yield made
    for store, _ in made:
        store.close()


def quietly(cases: int) -> settings:
    return settings(
        max_examples=max(cases, 1),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def test_a_search_finds_what_the_definitions_say(worlds: Worlds, share: int) -> None:
    @quietly(CASES // share)
    @given(
        number=st.integers(0, COUNT - 1),
        type=st.sampled_from(naive.TYPES),
        where=naive.conditions,
        sort=naive.sorts,
        size=st.integers(1, 7),
    )
    def check(number: int, type: str, where: Condition, sort: list[Sort], size: int) -> None:
        store, world = worlds[number]

        naive.compare(store, world, type, where, sort, size)

    check()


def test_a_search_served_by_a_compound_index_finds_the_same(worlds: Worlds, share: int) -> None:
    @quietly(CASES // 3 // share)
    @given(number=st.integers(0, COUNT - 1), where=naive.slots, sort=naive.sorts)
    def check(number: int, where: Condition, sort: list[Sort]) -> None:
        store, world = worlds[number]

        naive.compare(store, world, "Thing", where, sort, 3)

    check()
