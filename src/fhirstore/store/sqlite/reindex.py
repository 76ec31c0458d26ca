"""Recomputing index entries while others read and write.

Entries are computed outside of the transaction and written only if the resource is still in the version they were
computed from; otherwise they are computed again inside. How far a type is done is stored with each batch.
"""

from __future__ import annotations

from collections.abc import Callable

from fhirstore.store.protocol import Extractor
from fhirstore.store.sqlite.connection import Connections, Session
from fhirstore.store.sqlite.layout import Layout
from fhirstore.store.sqlite.read import batch, read_one
from fhirstore.store.sqlite.write import check_schema, write_rows

_BATCH = 200


def pending(session: Session) -> frozenset[tuple[str, str]]:
    rows = session.execute("SELECT type, code FROM params WHERE pending AND dropped IS NULL")
    return frozenset(rows.fetchall())


def reindex(
    connections: Connections,
    layout: Layout,
    extract: Extractor,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Returns the number of resources whose entries were computed."""
    session = connections.session()
    types = sorted({type for type, _ in pending(session)})
    starts = {type: _position(session, type) for type in types}
    total = sum(_left(session, type, after) for type, after in starts.items())
    done = 0
    for type, after in starts.items():
        while ids := _batch(connections, layout, type, after, extract):
            after, done = ids[-1], done + len(ids)
            if progress is not None:
                progress(done, max(total, done))
        _finish(connections, layout, type)
    return done


def _position(session: Session, type: str) -> str:
    row = session.execute("SELECT value FROM meta WHERE name=?", (f"reindex {type}",)).fetchone()
    return "" if row is None else str(row[0])


def _left(session: Session, type: str, after: str) -> int:
    found: int = session.execute("SELECT count(*) FROM docs WHERE type=? AND id>?", (type, after)).fetchone()[0]
    return found


def _batch(connections: Connections, layout: Layout, type: str, after: str, extract: Extractor) -> list[str]:
    """The ids done; empty = there are no more."""
    resources = batch(connections.session(), type, after, _BATCH)
    computed = [(stored, layout.rows(type, extract(stored))) for stored in resources]
    if not computed:
        return []
    with connections.writing() as session:
        check_schema(session, layout)
        for stored, rows in computed:
            now = read_one(session, type, stored.id, None)
            if now is None or now.deleted:
                continue
            if (now.key, now.version) != (stored.key, stored.version):
                rows = layout.rows(type, extract(now))
            write_rows(session, layout, type, now.key, rows, False)
        session.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (f"reindex {type}", resources[-1].id))
    return [stored.id for stored in resources]


def _finish(connections: Connections, layout: Layout, type: str) -> None:
    with connections.writing() as session:
        check_schema(session, layout)
        session.execute("UPDATE params SET pending=0 WHERE type=? AND dropped IS NULL", (type,))
        session.execute("DELETE FROM meta WHERE name=?", (f"reindex {type}",))
