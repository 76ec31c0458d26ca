"""Fixtures of tests of several packages."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.mongo import Mongo, Replica, start_server
from support.rights import user


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that start processes come first: they take longest, and no worker should be left alone with one."""
    items.sort(key=lambda item: not _starts_processes(item))


def _starts_processes(item: pytest.Item) -> bool:
    module = getattr(item, "module", None)
    return any(hasattr(module, name) for name in ("Process", "TlsProcess", "served", "subprocess", "Replica"))


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """A MongoDB server or a stand-in, for this test run; see support/mongo.py."""
    server = start_server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    """The server of MONGODB_URI, or our own replica set of one node; see support/replica."""
    uri = os.environ.get("MONGODB_URI")
    server = (
        Mongo(uri)
        if uri
        else Replica(tmp_path_factory.mktemp("replica") / "journal", *user("fhirstoreServer", "fhirstoreIndexes"))
    )
    yield server
    server.close()
