"""The engines that the contract is tested on; `naive` is importable beside the tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import monitoring
from support.mongo import SERVERS, Mongo
from support.rights import Commands, documented

from fhirstore.model.indexing import Schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store

sys.path.insert(0, str(Path(__file__).parent))

import naive

MakeStore = Callable[..., Store]

ENGINES = ("sqlite", *SERVERS)


_commands = Commands()
monitoring.register(_commands)  # for all clients made from now on; there is no way back
_DOCUMENTED = documented().keys()


@pytest.fixture
def commands() -> Commands:
    return _commands


@pytest.fixture(autouse=True)
def only_documented_commands() -> Iterator[None]:
    """What the engine sends to MongoDB has its rights in docs/mongodb.md."""
    with _commands.heard() as heard:
        yield
    assert {name for name, _ in heard} - _DOCUMENTED - {"dropDatabase"} == set()  # tests drop their databases


@pytest.fixture(params=ENGINES, scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def engine(engine_name: str, request: pytest.FixtureRequest) -> Callable[[Path], str]:
    """engine(folder): the URL of a database that belongs to the folder."""
    if engine_name != "sqlite":
        server: Mongo = request.getfixturevalue(engine_name)
        return server.url
    return lambda folder: f"sqlite:///{folder}/store.db"


@pytest.fixture(scope="session")
def share(engine_name: str) -> int:
    """Tests with many resources or examples take one of so many: the stand-ins for MongoDB are slow."""
    return {"mongo": 10, "replica": 3}.get(engine_name, 1)


@pytest.fixture
def make_store(
    engine: Callable[[Path], str], engine_name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[MakeStore]:
    """make_store(schema): a store on the database of this test, opened with the schema, as a new process would."""
    made: list[Store] = []
    server: Mongo | None = None if engine_name == "sqlite" else request.getfixturevalue(engine_name)

    def make(schema: Schema | None = None) -> Store:
        store = open_store(engine(tmp_path), Settings(write_timeout_s=60.0))
        made.append(store)
        store.open(naive.schema() if schema is None else schema)
        return store

    yield make
    for store in made:
        store.close()
    if server is not None:
        server.drop(tmp_path)


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()
