"""Reads by id, scans, unique keys and records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fhirstore.model.stored import Record, Stored
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.leaf_sql import values_query
from fhirstore.store.sqlite.resource_cache import BODY, CURRENT, CacheRow, ResourceCache

_BATCH = 500
_CURRENT = "SELECT version, updated, method, meta, body, rid FROM docs WHERE type=? AND id=?"
_OLD = "SELECT version, updated, deleted, method, meta, body FROM versions WHERE type=? AND id=?"
_GREATEST = 2**63 - 1


def read_one(session: SqliteSession, type: str, id: str, version: int | None) -> Stored | None:
    """Returns the current version or the given one. The usual case is one statement, and so sees one state."""
    row = session.execute(_CURRENT, (type, id)).fetchone()
    if row is not None and (version is None or row[0] == version):
        return Stored(type, id, row[0], row[1], False, *row[2:])
    if version is None:
        # The last version is a deletion, unless the resource was created again after the first statement.
        row = session.execute(f"{_OLD} ORDER BY version DESC LIMIT 1", (type, id)).fetchone()
    elif version > _GREATEST:
        return None
    else:
        row = session.execute(f"{_OLD} AND version=?", (type, id, version)).fetchone()
    return None if row is None else Stored(type, id, row[0], row[1], bool(row[2]), *row[3:])


def read_many(session: SqliteSession, cache: ResourceCache, refs: Iterable[str]) -> list[Stored]:
    """See `ResourceStore.read_many`. A look-up by row id costs a third of one by reference, so known ids are used."""
    known, unknown = cache.rids(refs)
    rows: list[CacheRow] = []
    if known:
        sql = f"SELECT {CURRENT} FROM json_each(?) j CROSS JOIN docs d ON d.rid=j.value"
        rows = session.execute(sql, (str(list(known)),)).fetchall()
        if len(rows) < len(known):  # deleted ones may exist again with another row id
            found = {rid for rid, _ in rows}
            unknown += [ref for rid, ref in known.items() if rid not in found]
    if not unknown:
        return cache.resources(session, rows)
    resources = cache.resources(session, _rows_of(session, unknown))
    cache.remember_rids(resources)
    return cache.resources(session, rows) + resources


def _rows_of(session: SqliteSession, refs: Iterable[str]) -> list[CacheRow]:
    by_type: dict[str, set[str]] = {}
    for ref in refs:
        type, _, id = ref.partition("/")
        by_type.setdefault(type, set()).add(id)
    rows: list[CacheRow] = []
    for type in sorted(by_type):
        ids, args = values_query(list(by_type[type]))
        sql = (
            f"WITH w(id) AS ({ids}) SELECT {CURRENT} FROM w CROSS JOIN docs d INDEXED BY docs_id"
            " ON d.type=? AND d.id=w.id"
        )
        rows += session.execute(sql, (*args, type)).fetchall()
    return rows


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


def get_record(session: SqliteSession, kind: str, key: str) -> Record | None:
    row = session.execute("SELECT value FROM records WHERE kind=? AND key=?", (kind, key)).fetchone()
    return None if row is None else Record(kind, key, row[0])


def records(session: SqliteSession, kind: str, after: str, limit: int) -> list[Record]:
    sql = "SELECT key, value FROM records WHERE kind=? AND key>? ORDER BY key LIMIT ?"
    return [Record(kind, key, value) for key, value in session.execute(sql, (kind, after, limit))]
