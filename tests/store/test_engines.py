"""The engine that a URL opens, and engines that other distributions add."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.store import GROUP, open_store
from fhirstore.store.mongo import MongoStore
from fhirstore.store.sqlite import SqliteStore


def test_the_scheme_says_which_engine() -> None:
    assert isinstance(open_store("sqlite:///store.db", Settings()), SqliteStore)
    assert isinstance(open_store("mongodb://127.0.0.1/x", Settings()), MongoStore)
    assert isinstance(open_store("mongodb+srv://example.org/x", Settings()), MongoStore)


@pytest.mark.parametrize("url", ["", "store.db", "mongodb:x", "mongo://h/x", "://"])
def test_another_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(StartupError, match=r"sqlite:///PATH or mongodb://HOST/DATABASE"):
        open_store(url, Settings())


@pytest.mark.parametrize("url", ["sqlite://store.db", "sqlite:///"])
def test_a_sqlite_url_names_a_file(url: str) -> None:
    with pytest.raises(StartupError, match=r"names no file\. Use sqlite:///PATH"):
        open_store(url, Settings())


def test_an_unknown_scheme_lists_the_engines_and_shows_no_password() -> None:
    with pytest.raises(StartupError, match="'postgres'") as refused:
        open_store("postgres://me:secret@host/x", Settings())

    assert "mongodb://, mongodb+srv://, sqlite://" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_engine_of_another_distribution_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "another_engine.py").write_text("def open_url(url, settings):\n    return ('opened', url)\n")
    metadata = tmp_path / "another_engine-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: another-engine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nanother = another_engine:open_url\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert open_store("another://x", Settings()) == ("opened", "another://x")


def test_an_engine_that_lacks_a_module_of_its_own_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("broken", "fhirstore.no_such_module:open_url [mongo]", GROUP)
    monkeypatch.setattr("fhirstore.store.entry_points", lambda group: [entry])

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        open_store("broken://x", Settings())


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

    assert done.stdout.startswith("StartupError store: mongodb:// URLs need the package pymongo")
    assert len(done.stdout.splitlines()) == 1
    assert "pip install 'fhirstore-server[mongo]'" in done.stdout
