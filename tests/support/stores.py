"""Empty stores, copied from one that has been opened before.

The first opening of a store of every R4 type executes 3 000 statements, and each further one compares as many
parameters: most of the time of a short test.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pymongo.errors import OperationFailure

from fhirstore.interactions.server import Server
from fhirstore.model.indexing import Schema
from fhirstore.search.schema import make_schema
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store
from fhirstore.store.sqlite import SqliteStore

_PREFIX = "sqlite:///"
_schemas: dict[int, tuple[Server, Schema]] = {}
"""By the identity of a server, which is kept alive here."""
_files: dict[int, tuple[Schema, bytes, Any]] = {}
"""By the identity of a schema, which is kept alive here: the file of an empty store, and its layout."""
_databases: dict[tuple[str, int], tuple[Schema, str, Any, Any]] = {}
"""By server and the identity of a schema: the database of an empty store, its layout, and its missing indexes."""
_can_copy: dict[str, bool] = {}
"""By server: whether it knows `copydb`. MongoDB does not."""
_NOT_FOUND = 26  # https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml


def schema_of(server: Server) -> Schema:
    """The schema of a server, made once: its registry is immutable."""
    if id(server) not in _schemas:
        _schemas[id(server)] = server, make_schema(server.registry, server.plugins.compounds())
    return _schemas[id(server)][1]


def open_empty(settings: Settings, schema: Schema) -> Store:
    """The store of the settings, opened; copied if it is a SQLite file that does not exist yet, or an empty database of
    our stand-in for MongoDB. Its secret, with which page tokens are signed, is that of all copies."""
    store = open_store(settings.store, settings)
    copy = _copy_file if isinstance(store, SqliteStore) else _copy_database
    if not copy(store, settings, schema):
        store.open(schema)
    return store


def _copy_file(store: Any, settings: Settings, schema: Schema) -> bool:
    file = Path(settings.store.removeprefix(_PREFIX))
    if file.exists():
        return False
    if id(schema) not in _files:
        with TemporaryDirectory() as folder:
            template = Path(folder, "empty.db")
            first: Any = open_store(f"{_PREFIX}{template}", settings)
            first.open(schema)
            first.close()  # the last connection moves the write-ahead log into the file
            assert [one.name for one in template.parent.iterdir() if one.name.endswith("-wal")] == []
            _files[id(schema)] = schema, template.read_bytes(), first._layout
    _, content, layout = _files[id(schema)]
    file.write_bytes(content)
    store._layout = layout  # as `open` would set it
    return True


def _copy_database(store: Any, settings: Settings, schema: Schema) -> bool:
    server, _, database = settings.store.partition("?")[0].rpartition("/")
    admin, key = store._connections.process().client.admin, (server, id(schema))
    if server not in _can_copy:
        _can_copy[server] = _answer(admin, "", "") == _NOT_FOUND
    if not _can_copy[server]:
        store.close()
        return False
    found = _databases.get(key)
    answer = _NOT_FOUND if found is None else _answer(admin, found[1], database)
    if answer == _NOT_FOUND:
        name = f"{database}_template"
        first: Any = open_store(settings.store.replace(f"/{database}", f"/{name}", 1), settings)
        first.open(schema)
        first.close()
        found = _databases[key] = schema, name, first._layout, first._missing
        answer = _answer(admin, name, database)
    if found is None or answer is not None:
        store.close()
        return False
    store._layout, store._missing = found[2], list(found[3])  # as `open` would set them
    return True


def _answer(admin: Any, source: str, target: str) -> int | None:
    """The code of the error, None if the database is copied."""
    try:
        admin.command("copydb", fromdb=source, todb=target)
    except OperationFailure as problem:
        return problem.code
    return None
