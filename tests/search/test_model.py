"""Generated query strings against a naive reading of the specification, resource by resource.

SEARCH_CASES in the environment says how many (default 1000, a tenth of what `make test-deep` does; a tenth of them on
MongoDB), on a two hundredth as many data sets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.mongo import Mongo
from support.naive_matching import OBSERVATION_KEYS, PATIENT_KEYS, RISK_KEYS, VALUE_SET_KEYS
from support.naive_search import World
from support.sizes import size

CASES = size("SEARCH_CASES", quick=600, deep=10_000)
WORLDS = max(CASES // 200, 5)
ENGINES = ("sqlite", "mongo") if os.environ.get("MONGODB_URI") else ("sqlite", "mongo", "replica")
COMMIT = 40  # resources that are stored at the same instant


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def share(engine: str) -> int:
    return 1 if engine == "sqlite" else 10


@pytest.fixture
def make_server(
    engine: str, server_of: Callable[[str], Any], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[[int], Any]]:
    """make_server(n): the nth server, with an empty store."""
    mongo: Mongo | None = None if engine == "sqlite" else request.getfixturevalue(engine)
    made: list[int] = []

    def make(n: int) -> Any:
        made.append(n)
        return server_of(f"sqlite:///{tmp_path}/{n}.db" if mongo is None else mongo.url(tmp_path / str(n)))

    yield make
    for n in made if mongo is not None else ():
        mongo.drop(tmp_path / str(n))


def test_searches_find_what_a_naive_reading_of_each_resource_finds(
    make_server: Callable[[int], Any], share: int
) -> None:
    count = max(WORLDS // share, 2)
    made: Counter[str] = Counter()
    for seed in range(count):
        world, server = World(seed), make_server(seed)
        resources = world.resources()
        for start in range(0, len(resources), COMMIT):
            server.put(*resources[start : start + COMMIT])
        world.updated = {stored.ref: stored.updated for stored in server.store.scan()}
        for _ in range(CASES // share // count):
            type, query, expected = world.search()
            found = [stored.id for matches in server.pages(type, query) for stored in matches]
            assert found == expected, (seed, type, query)
            assert server.search(type, f"{query}&_total=accurate").total == len(expected), (seed, type, query)
        made.update(world.made)
    if share == 1:
        assert every_kind() - made.keys() == set()


def every_kind() -> set[str]:
    """The kinds of criteria and sorts that must be made."""
    keys = PATIENT_KEYS | OBSERVATION_KEYS | RISK_KEYS | VALUE_SET_KEYS | dict.fromkeys(("_id", "_lastUpdated"))
    criteria = (
        "birthdate code doctor effective family gender has_doctor has_observation has_risk id identifier missing "
        "not_code plain_observation plain_patient probability quantity subject subject_of_a_chain updated url"
    )
    return {f"sort {down}{name}" for name in keys for down in ("", "-")} | {f"_{name}" for name in criteria.split()}
