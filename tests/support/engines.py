"""Fixtures of the tests that run on several engines; a conftest.py imports those that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pymongo import monitoring

from support.mongo import SERVERS, Mongo
from support.rights import Commands, documented

ENGINES = ("sqlite", *SERVERS)

_commands = Commands()
monitoring.register(_commands)  # pymongo cannot unregister a listener
_DOCUMENTED = documented().keys()


@pytest.fixture
def commands() -> Commands:
    return _commands


@pytest.fixture(autouse=True)
def only_documented_commands() -> Iterator[None]:
    """docs/mongodb.md lists the rights for all commands that the engine sends to MongoDB."""
    with _commands.heard() as heard:
        yield
    assert {name for name, _ in heard} - _DOCUMENTED - {"dropDatabase", "copydb"} == set()  # by tests


@pytest.fixture(params=ENGINES, scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def mongo_server(engine_name: str, request: pytest.FixtureRequest) -> Mongo | None:
    """The server of the engine, None for engines without one."""
    return request.getfixturevalue(engine_name) if engine_name in SERVERS else None


@pytest.fixture(scope="session")
def engine(engine_name: str, mongo_server: Mongo | None) -> Callable[[Path], str]:
    """engine(folder): the URL of a database that belongs to the folder."""
    if mongo_server is not None:
        return mongo_server.url
    return lambda folder: f"{engine_name}:///{folder}/store.db"


@pytest.fixture(scope="session")
def share(engine_name: str) -> int:
    """Tests with many resources or examples take one in so many: the stand-ins for MongoDB are slow."""
    return {"mongo": 10, "replica": 3, "memory": 10}.get(engine_name, 1)
