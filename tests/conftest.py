"""What tests of several rooms need."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.mongo import Mongo, Replica, started
from support.rights import user


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """A MongoDB server, or its stand-in, for this test run; see support/mongo.py."""
    server = started()
    yield server
    server.close()


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    """MONGODB_URI's server, or a replica set of one node of our own; see support/replica."""
    uri = os.environ.get("MONGODB_URI")
    server = (
        Mongo(uri)
        if uri
        else Replica(tmp_path_factory.mktemp("replica") / "journal", *user("fhirstoreServer", "fhirstoreIndexes"))
    )
    yield server
    server.close()
