"""Empty SQLite stores, copied from one that has been opened before.

The first opening of a store of every R4 type executes 3 000 statements, and each further one compares as many
parameters: most of the time of a short test.
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
from fhirstore.store.sqlite import SqliteStore
from fhirstore.store.sqlite.layout import SqliteLayout

_PREFIX = "sqlite:///"
_schemas: dict[int, tuple[Server, Schema]] = {}
"""By the identity of a server, which is kept alive here."""
_templates: dict[int, tuple[Schema, bytes, SqliteLayout]] = {}
"""By the identity of a schema, which is kept alive here: the file of an empty store, and what opening it returned."""


def schema_of(server: Server) -> Schema:
    """The schema of a server, made once: its registry is immutable."""
    if id(server) not in _schemas:
        _schemas[id(server)] = server, make_schema(server.registry, server.plugins.compounds())
    return _schemas[id(server)][1]


def open_empty(settings: Settings, schema: Schema) -> Store:
    """The store of the settings, opened; copied if it is a SQLite file that does not exist yet. Its secret, with which
    page tokens are signed, is that of all copies."""
    store = open_store(settings.store, settings)
    file = Path(settings.store.removeprefix(_PREFIX))
    if isinstance(store, SqliteStore) and not file.exists():
        content, layout = _template(settings, schema)
        file.write_bytes(content)
        store._layout = layout  # as `open` would set it
    else:
        store.open(schema)
    return store


def _template(settings: Settings, schema: Schema) -> tuple[bytes, SqliteLayout]:
    if id(schema) not in _templates:
        with TemporaryDirectory() as folder:
            file = Path(folder, "empty.db")
            store = open_store(f"{_PREFIX}{file}", settings)
            assert isinstance(store, SqliteStore)
            store.open(schema)
            store.close()  # the last connection moves the write-ahead log into the file
            assert [one.name for one in file.parent.iterdir() if one.name.endswith("-wal")] == []
            _templates[id(schema)] = schema, file.read_bytes(), store._layout
    _, content, layout = _templates[id(schema)]
    return content, layout
