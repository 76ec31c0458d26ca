"""The engines that the contract is tested on; `naive` is importable beside the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.base import Schema, Store

sys.path.insert(0, str(Path(__file__).parent))

import naive

MakeStore = Callable[..., Store]

ENGINES: dict[str, Callable[[Path], str]] = {  # name -> the URL of a database in a folder
    "sqlite": lambda folder: f"sqlite:///{folder}/store.db",
}


@pytest.fixture(params=sorted(ENGINES), scope="session")
def engine(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    return ENGINES[request.param]


@pytest.fixture
def make_store(engine: Callable[[Path], str], tmp_path: Path) -> Iterator[MakeStore]:
    """make_store(schema): a store on the database of this test, opened with the schema, as a new process would."""
    made: list[Store] = []

    def make(schema: Schema | None = None) -> Store:
        store = open_store(engine(tmp_path), Settings(write_timeout_s=5.0))
        made.append(store)
        store.open(naive.schema() if schema is None else schema)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()
