"""MongoDB stores, the commands they send, and faults. The naive model of tests/contract is importable."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, monitoring
from pymongo.database import Database
from pymongo.errors import OperationFailure
from support.mongo import Mongo
from support.tcp_proxy import TcpProxy

from fhirstore.model.indexing import Schema
from fhirstore.store.mongo import MongoStore

sys.path.insert(0, str(Path(__file__).parents[2] / "contract"))

import naive

MakeStore = Callable[..., MongoStore]


class Commands(monitoring.CommandListener):
    """The commands that clients of this process send, while someone listens."""

    def __init__(self) -> None:
        self._heard: list[tuple[str, dict[str, Any]]] | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self._heard is not None:
            self._heard.append((event.command_name, dict(event.command)))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    @contextmanager
    def heard(self) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        self._heard = found = []
        try:
            yield found
        finally:
            self._heard = None


_commands = Commands()
monitoring.register(_commands)  # for all clients made from now on; there is no way back


@pytest.fixture
def commands() -> Commands:
    return _commands


@pytest.fixture
def url(replica: Mongo, tmp_path: Path) -> Iterator[str]:
    yield replica.url(tmp_path)
    replica.drop(tmp_path)


@pytest.fixture
def make_store(url: str) -> Iterator[MakeStore]:
    """make_store(schema, url=…): a store on the database of this test, opened with the schema."""
    made: list[MongoStore] = []

    def make(schema: Schema | None = None, *, to: str = url, **timeouts: float) -> MongoStore:
        store = MongoStore(to, **timeouts)
        made.append(store)
        store.open(naive.schema() if schema is None else schema)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> MongoStore:
    return make_store()


@pytest.fixture
def client(replica: Mongo) -> Iterator[MongoClient[dict[str, Any]]]:
    with replica.client() as client:
        yield client


@pytest.fixture
def db(client: MongoClient[dict[str, Any]], url: str) -> Database[dict[str, Any]]:
    return client[re.search(r"/(fhirstore_test_\w+)", url)[1]]  # type: ignore[index]


@pytest.fixture
def fail(client: MongoClient[dict[str, Any]]) -> Iterator[Callable[..., None]]:
    """fail(command, times, code, *labels): the server refuses that command so many times; more: further data."""

    def command(mode: Any, data: dict[str, Any]) -> None:
        try:
            client.admin.command({"configureFailPoint": "failCommand", "mode": mode, "data": data})
        except OperationFailure as problem:
            pytest.skip(f"this server has no fail points: {problem}")

    def fail(name: str, times: int, code: int, *labels: str, **more: bool) -> None:
        command({"times": times}, {"failCommands": [name], "errorCode": code, "errorLabels": list(labels), **more})

    yield fail
    command("off", {"failCommands": ["ping"], "errorCode": 1})


@pytest.fixture
def line(url: str) -> Iterator[tuple[TcpProxy, str]]:
    """A line to the server, and the store URL that goes over it."""
    found = re.match(r"mongodb://127\.0\.0\.1:(\d+)/", url)
    if found is None:
        pytest.skip("the server is not one on this machine")
    line = TcpProxy(int(found[1]))
    yield line, url.replace(f":{found[1]}/", f":{line.port}/", 1).partition("&")[0]
    line.close()
