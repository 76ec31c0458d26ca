"""A server with every R4 type on a fresh store, spoken to through its WSGI interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template
from support.mongo import Mongo


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.make()


ON_BOTH = (
    "test_bulk",
    "test_bundle",
    "test_conditional",
    "test_crud",
    "test_history",
    "test_links",
    "test_referential_integrity",
    "test_retries",
    "test_search",
    "test_transaction",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On both engines where the store is in question; what stands before it is tested on one."""
    if "place" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
        metafunc.parametrize("place", ["sqlite", "replica"] if both else ["sqlite"], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[int], Path | str]]:
    """place(n): where the n-th store of this test is; on SQLite, and on a stand-in for MongoDB."""
    if request.param == "sqlite":
        yield lambda n: tmp_path / f"{n}.db"
        return
    server: Mongo = request.getfixturevalue("replica")
    used: list[Path] = []

    def url(n: int) -> str:
        used.append(tmp_path / str(n))
        return server.url(used[-1])

    yield url
    for folder in used:
        server.drop(folder)


@pytest.fixture
def make_api(template: Template, place: Callable[[int], Path | str]) -> Iterator[Callable[..., Api]]:
    """Makes an Api with other settings than the defaults."""
    made: list[Api] = []

    def make(**changed: Any) -> Api:
        made.append(template.fresh(place(len(made)), **changed))
        return made[-1]

    yield make
    for api in made:
        api.ctx.store.close()


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()
