"""Random conditions, sorts, page sizes and guards on random worlds, against the naive model.

STORE_CASES in the environment says how many searches (default 1000, a tenth of what `make test-deep` does; a tenth of
them on MongoDB), on a two hundredth as many worlds.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import generated
import naive
import pytest
from generated import Case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.mongo import SERVERS
from support.sizes import size

from fhirstore.model.conditions import Condition, Sort, Uri
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store

CASES = size("STORE_CASES", quick=600, deep=10_000)
COUNT = max(CASES // 200, len(generated.SIZES))

Worlds = list[tuple[Store, naive.World]]


@pytest.fixture(scope="module")
def worlds(engine: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    made: Worlds = []
    for seed in range(COUNT):
        store = open_store(engine(tmp_path_factory.mktemp("world")), Settings())
        store.open(naive.schema())
        made.append((store, generated.made_world(store, seed)))
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


def compare_all(worlds: Worlds, seed: int, cases: int) -> None:
    def fails(case: Case) -> BaseException | None:
        try:
            generated.check(*worlds[case.world % len(worlds)], case)
        except Exception as problem:
            return problem
        return None

    generator = generated.Generator(seed)
    for n in range(cases):
        case = generator.case()
        if fails(case) is not None:
            case = generated.simplest(case, lambda one: fails(one) is not None)
            raise AssertionError(f"case {n} of seed {seed}, made simpler: {case}") from fails(case)


def test_a_search_finds_what_the_definitions_say(worlds: Worlds, share: int) -> None:
    compare_all(worlds, 1, CASES // 2 // share)


# What only many resources would bring about: a plan that gives up and takes another one, lists that are too long for a
# join, batches. With these limits some dozens suffice.
TIGHT = {
    "sqlite": {
        "search": {"FEW": 3, "MANY": 9, "_CAPS": (2, 3, 9), "_MOST_ALTERNATIVES": 3},
        "walk": {"_TIES": 2},
    },
    "mongo": {"joins": {"FEW": 3, "BATCH": 4}, "search": {"BATCH": 4, "_FIRST_BATCH": 3}},
}


def test_a_search_finds_the_same_where_everything_counts_as_much(
    worlds: Worlds, share: int, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = "mongo" if engine_name in SERVERS else engine_name
    for name, limits in TIGHT.get(engine, {}).items():
        module = importlib.import_module(f"fhirstore.store.{engine}.{name}")
        for limit, value in limits.items():
            assert hasattr(module, limit)
            monkeypatch.setattr(module, limit, value)

    compare_all(worlds, 2, CASES // 2 // share)


def test_a_search_served_by_a_compound_index_finds_the_same(worlds: Worlds, share: int) -> None:
    @quietly(CASES // 10 // share)
    @given(number=st.integers(0, 999), where=naive.slots, sort=naive.sorts)
    def check(number: int, where: Condition, sort: list[Sort]) -> None:
        store, world = worlds[number % len(worlds)]

        naive.compare(store, world, "Thing", where, sort, 3)

    check()


def test_the_generator_makes_conditions_sorts_pages_and_guards_of_every_kind() -> None:
    generator, made = generated.Generator(1), Counter[str]()

    for _ in range(4000):
        made.update(set(generated.kinds(generator.case())))

    assert generated.every_kind() - made.keys() == set()


def test_a_case_that_fails_is_made_simpler() -> None:
    generator = generated.Generator(3)
    cases = [case for case in (generator.case() for _ in range(500)) if "Uri below" in generated.kinds(case)]
    assert len(cases) > 10

    for case in cases:
        simplest = generated.simplest(case, lambda one: "Uri below" in generated.kinds(one))
        assert isinstance(simplest.where, Uri)
        assert not simplest.sort
