"""A server with every R4 type and the SAS plugin on a fresh SQLite file; the data of the guide, if available."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.api import Api
from support.mongo import Mongo, Replica
from support.rights import user
from support.stores import open_empty, schema_of

from fhirstore.http.app import make_app
from fhirstore.interactions.server import Server
from fhirstore.plugins import Registry
from fhirstore.server import build
from fhirstore.settings import Settings


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Plugins and Registry, built once; the store of each test is its own."""
    path = tmp_path_factory.mktemp("sas") / "t.db"
    return build(Settings(store=f"sqlite:///{path}", plugins=("sas",)))


@pytest.fixture(scope="session")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The same with the types of an editor alone, whose stores are opened sooner."""
    path = tmp_path_factory.mktemp("editor") / "t.db"
    return build(Settings(store=f"sqlite:///{path}", plugins=("sas",), capability="sas-editor"))


@pytest.fixture
def registry(server: Server) -> Registry:
    return server.registry


@pytest.fixture
def api(server: Server, tmp_path: Path) -> Iterator[Api]:
    settings = replace(server.settings, store=f"sqlite:///{tmp_path / 'sas.db'}")
    store = open_empty(settings, schema_of(server))
    ctx = replace(server, settings=settings, store=store, secret=store.secret())
    yield Api(make_app(ctx), ctx)
    store.close()


@pytest.fixture
def relaying(editor: Server, tmp_path: Path) -> Iterator[Api]:
    """A server whose relay is configured, and does not run."""
    options = ("sas.relay_url=http://127.0.0.1:1/fhir",)
    settings = replace(editor.settings, store=f"sqlite:///{tmp_path / 'relay.db'}", plugin_options=options)
    store = open_empty(settings, schema_of(editor))
    ctx = replace(editor, settings=settings, store=store, secret=store.secret())
    yield Api(make_app(ctx), ctx)
    store.close()


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongo]:
    """As in tests/conftest.py: MONGODB_URI's server, or a replica set of one node of our own."""
    uri = os.environ.get("MONGODB_URI")
    server = (
        Mongo(uri)
        if uri
        else Replica(tmp_path_factory.mktemp("replica") / "journal", *user("fhirstoreServer", "fhirstoreIndexes"))
    )
    yield server
    server.close()


@pytest.fixture(scope="session")
def guide() -> Path:
    """The conformance data of the guide; tests that need it are skipped if it is missing."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "sas" / "ig"
    if not folder.is_dir():
        pytest.skip("../shared/sas/ig is not here")
    return folder
