"""Which engine a URL opens."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.mongo import MongoStore
from fhirstore.store.sqlite import SqliteStore


def test_the_scheme_says_which_engine() -> None:
    assert isinstance(open_store("sqlite:///store.db", Settings()), SqliteStore)
    assert isinstance(open_store("mongodb://127.0.0.1/x", Settings()), MongoStore)
    assert isinstance(open_store("mongodb+srv://example.org/x", Settings()), MongoStore)


@pytest.mark.parametrize("url", ["", "store.db", "sqlite://store.db", "sqlite:///", "mongodb:x", "mongo://h/x", "://"])
def test_another_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(StartupError, match=r"sqlite:///PATH or mongodb://HOST/DATABASE"):
        open_store(url, Settings())


def test_without_pymongo_sqlite_works_and_a_mongodb_url_says_what_to_install() -> None:
    code = """
import sys
sys.modules["pymongo"] = None
from fhirstore.settings import Settings
from fhirstore.store import open_store
open_store("sqlite:///store.db", Settings())
try:
    open_store("mongodb://127.0.0.1/x", Settings())
except Exception as problem:
    print(type(problem).__name__, problem)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("StartupError store: MongoDB needs")
    assert "pip install 'fhirstore-server[mongo]'" in done.stdout
