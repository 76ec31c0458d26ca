"""Reindexing while others read and write.

Entries are computed outside of the transaction and written only if the resource still has the version from which they
were computed; otherwise they are computed again inside. Each batch stores the progress of its type.
"""

from __future__ import annotations

from collections.abc import Callable

from fhirstore.store.protocol import Extractor
from fhirstore.store.sqlite.connection import SqliteConnections, SqliteSession
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.read import batch, read_one
from fhirstore.store.sqlite.write import SqliteWriter, check_schema, index_rows, write_rows

_BATCH = 200
PENDING = "SELECT type, code FROM params WHERE pending AND dropped IS NULL"


def reindex(
    connections: SqliteConnections,
    writer: SqliteWriter,
    layout: SqliteLayout,
    extract: Extractor,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """See `AdministrationStore.reindex`."""
    session = connections.session()
    types = sorted({type for type, _ in session.execute(PENDING)})
    starts = {type: _position(session, type) for type in types}
    total = sum(_left(session, type, after) for type, after in starts.items())
    done = 0
    for type, after in starts.items():
        while ids := _batch(connections, writer, layout, type, after, extract):
            after, done = ids[-1], done + len(ids)
            if progress is not None:
                progress(done, max(total, done))
        _finish(writer, layout, type)
    return done


def _position(session: SqliteSession, type: str) -> str:
    row = session.execute("SELECT value FROM meta WHERE name=?", (f"reindex {type}",)).fetchone()
    return "" if row is None else str(row[0])


def _left(session: SqliteSession, type: str, after: str) -> int:
    found: int = session.execute("SELECT count(*) FROM docs WHERE type=? AND id>?", (type, after)).fetchone()[0]
    return found


def _batch(
    connections: SqliteConnections,
    writer: SqliteWriter,
    layout: SqliteLayout,
    type: str,
    after: str,
    extract: Extractor,
) -> list[str]:
    """Returns the ids of the batch, empty at the end."""
    resources = batch(connections.session(), type, after, _BATCH)
    computed = [(stored, index_rows(layout, type, extract(stored))) for stored in resources]
    if not computed:
        return []
    with writer.transaction() as session:
        check_schema(session, layout)
        for stored, rows in computed:
            now = read_one(session, type, stored.id, None)
            if now is None or now.deleted:
                continue
            if (now.key, now.version) != (stored.key, stored.version):
                rows = index_rows(layout, type, extract(now))
            write_rows(session, layout, type, now.key, rows, False)
        session.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (f"reindex {type}", resources[-1].id))
    return [stored.id for stored in resources]


def _finish(writer: SqliteWriter, layout: SqliteLayout, type: str) -> None:
    with writer.transaction() as session:
        check_schema(session, layout)
        session.execute("UPDATE params SET pending=0 WHERE type=? AND dropped IS NULL", (type,))
        session.execute("DELETE FROM meta WHERE name=?", (f"reindex {type}",))
