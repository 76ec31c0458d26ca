"""Reads by id, and scans."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore.model.stored import Stored
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.resource_cache import BODY

_BATCH = 500
CURRENT = "SELECT version, updated, method, meta, body, rid FROM docs WHERE type=? AND id=?"
_OLD = "SELECT version, updated, deleted, method, meta, body FROM versions WHERE type=? AND id=?"
_GREATEST = 2**63 - 1


def read_one(session: SqliteSession, type: str, id: str, version: int | None) -> Stored | None:
    """Returns the current version or the given one. The usual case is one statement, and so sees one state."""
    row = session.execute(CURRENT, (type, id)).fetchone()
    if row is not None and (version is None or row[0] == version):
        return Stored(type, id, row[0], row[1], False, *row[2:])
    return old_version(session, type, id, version)


def old_version(session: SqliteSession, type: str, id: str, version: int | None) -> Stored | None:
    """Returns a version that is not the current one of a live resource. None: the last deletion."""
    if version is None:
        # The last version is a deletion, unless the resource was created again after the first statement.
        row = session.execute(f"{_OLD} ORDER BY version DESC LIMIT 1", (type, id)).fetchone()
    elif version > _GREATEST:
        return None
    else:
        row = session.execute(f"{_OLD} AND version=?", (type, id, version)).fetchone()
    return None if row is None else Stored(type, id, row[0], row[1], bool(row[2]), *row[3:])


def types(session: SqliteSession) -> Iterator[str]:
    """Yields the types that have live resources, in order."""
    last = ""
    while (row := session.execute("SELECT min(type) FROM docs WHERE type>?", (last,)).fetchone())[0] is not None:
        last = row[0]
        yield last


def batch(session: SqliteSession, type: str, after: str, size: int = _BATCH) -> list[Stored]:
    """Returns the next live resources of the type, by id."""
    sql = f"SELECT {BODY} FROM docs d INDEXED BY docs_id WHERE d.type=? AND d.id>? ORDER BY d.id LIMIT ?"
    return [Stored(*row) for row in session.execute(sql, (type, after, size))]
