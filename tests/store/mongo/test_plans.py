"""Whichever side a join is resolved from, the answer is the same: what needs many resources is forced on few."""

from __future__ import annotations

import random
from collections.abc import Iterator

import naive
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.mongo import Mongo
from support.sizes import size

from fhirstore.model.conditions import (
    Chain,
    Condition,
    ReverseChain,
    Sort,
)
from fhirstore.store.mongo import MongoStore, joins, search

CASES = size("STORE_CASES", quick=200, deep=2000) // 5

World = tuple[MongoStore, naive.World]
quietly = settings(max_examples=CASES, derandomize=True, deadline=None, database=None)


@pytest.fixture(scope="module")
def world(replica: Mongo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = MongoStore(replica.url(tmp_path_factory.mktemp("world")))
    store.open(naive.schema())
    world = naive.World()
    world.fill(store, random.Random(7), 100)
    yield store, world
    store.close()


def linked(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    return st.builds(Chain, naive.refs, st.sampled_from(naive.TYPES), inner) | st.builds(
        ReverseChain, st.sampled_from(naive.TYPES), naive.refs, inner
    )


@pytest.mark.parametrize("few", [0, 2])
@quietly
@given(
    type=st.sampled_from(naive.TYPES),
    where=linked(naive.conditions) | naive.conditions,
    sort=naive.sorts,
    size=st.integers(1, 7),
)
def test_joins_that_many_fulfil_are_decided_candidate_by_candidate(
    world: World, few: int, type: str, where: Condition, sort: list[Sort], size: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joins, "FEW", few)
        patch.setattr(joins, "BATCH", 3)
        patch.setattr(search, "BATCH", 3)
        patch.setattr(search, "_FIRST_BATCH", 2)
        naive.compare(*world, type, where, sort, size)
