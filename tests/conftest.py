"""What tests of several rooms need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.mongo import Mongo, started


@pytest.fixture(scope="session")
def mongo() -> Iterator[Mongo]:
    """A MongoDB server, or its stand-in, for this test run; see support/mongo.py."""
    server = started()
    yield server
    server.close()
