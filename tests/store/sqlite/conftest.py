"""SQLite stores in the folder of the test; the naive model of tests/contract is importable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fhirstore.model.indexing import Schema
from fhirstore.store.sqlite import SqliteStore

sys.path.insert(0, str(Path(__file__).parents[2] / "contract"))

import naive


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def make_store(path: Path) -> Iterator[Callable[..., SqliteStore]]:
    """make_store(schema): a store on the file of this test, opened with the schema, as a new process would."""
    made: list[SqliteStore] = []

    def make(schema: Schema | None = None, **options: float) -> SqliteStore:
        store = SqliteStore(str(path), **options)
        made.append(store)
        store.open(naive.schema() if schema is None else schema)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., SqliteStore]) -> SqliteStore:
    return make_store()
