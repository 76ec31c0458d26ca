"""The engines that the contract is tested on; `naive` and `memory_store` are importable beside the tests.

`memory_store` is an engine of a distribution of its own, found by its entry point."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.engines import ENGINES, commands, engine, mongo_server, only_documented_commands, share  # noqa: F401
from support.mongo import Mongo

from fhirstore.model.indexing import Schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store

sys.path.insert(0, str(Path(__file__).parent))

import naive

MakeStore = Callable[..., Store]


@pytest.fixture(params=("memory", *ENGINES), scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make_store(
    engine: Callable[[Path], str],  # noqa: F811
    mongo_server: Mongo | None,  # noqa: F811
    tmp_path: Path,
) -> Iterator[MakeStore]:
    """make_store(schema): a store on the database of this test, opened with the schema, as a new process would."""
    opened: list[Store] = []

    def make(schema: Schema | None = None) -> Store:
        store = open_store(engine(tmp_path), Settings(write_timeout_s=60.0))
        opened.append(store)
        store.open(naive.schema() if schema is None else schema)
        return store

    yield make
    for store in opened:
        store.close()
    if mongo_server is not None:
        mongo_server.drop(tmp_path)


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()
