"""Queues on both engines, with a clock that tests set."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.mongo import Mongo

from fhirstore.jobs.model import QueueOptions, RetryPolicy
from fhirstore.jobs.queue import JobQueue
from fhirstore.model.indexing import Schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store

sys.path.insert(0, str(Path(__file__).parent))

from support.clock import Clock

MakeQueue = Callable[..., JobQueue]
ENGINES = ("sqlite", "replica")


@pytest.fixture(params=ENGINES, scope="session")
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty store."""
    if engine_name == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.db'}"
        return
    server: Mongo = request.getfixturevalue(engine_name)
    yield server.url(tmp_path)
    server.drop(tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = open_store(url, Settings(write_timeout_s=60.0))
    made.open(Schema({}))
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_queue(store: Store, clock: Clock) -> MakeQueue:
    """make_queue(name, **options): pauses of 100 s without jitter, leases of 60 s."""

    def make(name: str = "test", **options: object) -> JobQueue:
        retry = RetryPolicy(100.0, 100.0, 0.0, 1000.0)
        chosen = QueueOptions(**{"delivery": "latest", "retry": retry, "lease_s": 60.0, **options})  # type: ignore[arg-type]
        return JobQueue(store, name, chosen, clock)

    return make


@pytest.fixture
def queue(make_queue: MakeQueue) -> JobQueue:
    """Delivers the latest item of a key."""
    return make_queue()


@pytest.fixture
def each(make_queue: MakeQueue) -> JobQueue:
    """Delivers every item of a key."""
    return make_queue("each", delivery="each")
