"""Versions out of one store and into another, see `store.transfer`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.model.stored import Change, Record, Stored
from fhirstore.store.errors import StoreError
from fhirstore.store.sqlite.connection import Connections, Session
from fhirstore.store.sqlite.layout import Layout, Row
from fhirstore.store.sqlite.schema import check_format, check_header
from fhirstore.store.sqlite.write import COUNTER, Commit, check_schema
from fhirstore.store.transfer import TooOld, Version, replacing

_BATCH = 500  # versions that one statement reads: no longer does it hold the write-ahead log up
_VERSIONS = """SELECT l.seq, l.type, l.id, l.version, coalesce(d.updated, v.updated), coalesce(v.deleted, 0),
    coalesce(d.method, v.method), coalesce(d.meta, v.meta), coalesce(d.body, v.body), d.rid,
    CASE WHEN d.rid IS NULL THEN '[]' ELSE (SELECT json_group_array(key) FROM uniq WHERE r=d.rid) END
    FROM (SELECT * FROM log WHERE seq>? ORDER BY seq LIMIT ?) l
    LEFT JOIN docs d ON d.type=l.type AND d.id=l.id AND d.version=l.version
    LEFT JOIN versions v ON d.rid IS NULL AND v.type=l.type AND v.id=l.id AND v.version=l.version
    ORDER BY l.seq"""


def exists(path: str, connections: Connections) -> bool:
    """Whether there is a store in the file. Raises StartupError for a file of something else."""
    if not Path(path).exists() or not check_header(path):
        return False
    try:
        session = connections.session()
        if session.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
            return False  # it was made, and nothing was put in
        check_format(path, session)
    except (StoreError, sqlite3.Error) as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem}") from problem
    return True


def versions(connections: Connections, after: int) -> Iterator[Version]:
    """All versions with a greater log.seq, in its order. One body is in memory at a time."""
    while True:
        before = after
        for seq, *row, unique in connections.session().execute(_VERSIONS, (after, _BATCH)):
            after = seq
            yield Version(Stored(*row)._replace(deleted=bool(row[4])), [seq], tuple(json.loads(unique)))
        if after == before:
            return


def record_kinds(session: Session) -> Iterator[str]:
    sql = "SELECT kind FROM records WHERE kind>? ORDER BY kind LIMIT 1"
    last = ""
    while (row := session.execute(sql, (last,)).fetchone()) is not None:
        last = row[0]
        yield last


class Restore(Commit):
    """Versions that were committed elsewhere, inside one transaction."""

    def __init__(self, session: Session, layout: Layout):
        super().__init__(session, layout)
        check_schema(session, layout)
        last = self._execute("SELECT seq, high FROM log ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0)
        self._seq, self._high = last[0] + 1, last[1]
        self._updated = (last[0] >> COUNTER) * 1000

    def take(self, versions: Sequence[Version], rows: Sequence[set[Row]], records: Sequence[Record]) -> None:
        for version, entries in zip(versions, rows, strict=True):
            self._take(version, replacing(version), entries)
        for record in records:
            self._record(record)

    def _take(self, version: Version, change: Change, rows: set[Row]) -> None:
        updated = version.stored.updated
        if updated < self._updated:
            raise TooOld(version.stored)
        # The number that it was given where it was committed first: the same dates and order give the same numbers.
        self._seq, self._updated = max(self._seq, updated // 1000 << COUNTER), updated
        stored = self._change(change, rows)
        for key in change.unique:
            self._execute("DELETE FROM uniq WHERE key=?", (key,))
            self._claim(key, stored)
