"""Empty SQLite stores, copied from one that has been opened before.

The first opening of a store of every R4 type executes 3 000 statements, which is most of the time of a short test.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fhirstore.interactions.server import Server
from fhirstore.model.indexing import Schema
from fhirstore.search.schema import make_schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store

_PREFIX = "sqlite:///"
_schemas: dict[int, tuple[Server, Schema]] = {}
"""By the identity of a server, which is kept alive here."""
_files: dict[int, tuple[Schema, bytes]] = {}
"""By the identity of a schema, which is kept alive here: the file of an empty store."""


def schema_of(server: Server) -> Schema:
    """The schema of a server, made once: its registry is immutable."""
    if id(server) not in _schemas:
        _schemas[id(server)] = server, make_schema(server.registry, server.plugins.compounds())
    return _schemas[id(server)][1]


def open_empty(settings: Settings, schema: Schema) -> Store:
    """The store of the settings, opened; copied if it is a SQLite file that does not exist yet. Its secret, with which
    page tokens are signed, is that of all copies."""
    file = Path(settings.store.removeprefix(_PREFIX))
    if settings.store.startswith(_PREFIX) and not file.exists():
        file.write_bytes(_empty(settings, schema))
    store = open_store(settings.store, settings)
    store.open(schema)
    return store


def _empty(settings: Settings, schema: Schema) -> bytes:
    if id(schema) not in _files:
        with TemporaryDirectory() as folder:
            file = Path(folder, "empty.db")
            store = open_store(f"{_PREFIX}{file}", settings)
            store.open(schema)
            store.close()  # the last connection moves the write-ahead log into the file
            assert [one.name for one in file.parent.iterdir() if one.name.endswith("-wal")] == []
            _files[id(schema)] = schema, file.read_bytes()
    return _files[id(schema)][1]
