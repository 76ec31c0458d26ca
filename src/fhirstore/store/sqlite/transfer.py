"""Copies of whole stores, see `protocol.TransferStore`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.model.stored import Change, Record, Stored
from fhirstore.store.errors import StoreError, VersionOutOfOrder
from fhirstore.store.sqlite.connection import SqliteConnections, SqliteSession
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.schema import check_format, check_header
from fhirstore.store.sqlite.write import COUNTER, Row, SqliteCommit, check_schema
from fhirstore.store.transfer import TransferredVersion, change_of

_BATCH = 500  # versions that one statement reads; a long statement keeps the write-ahead log from shrinking
_VERSIONS = """SELECT l.seq, l.type, l.id, l.version, coalesce(d.updated, v.updated), coalesce(v.deleted, 0),
    coalesce(d.method, v.method), coalesce(d.meta, v.meta), coalesce(d.body, v.body), d.rid,
    CASE WHEN d.rid IS NULL THEN '[]' ELSE (SELECT json_group_array(key) FROM uniq WHERE r=d.rid) END
    FROM (SELECT * FROM log WHERE seq>? ORDER BY seq LIMIT ?) l
    LEFT JOIN docs d ON d.type=l.type AND d.id=l.id AND d.version=l.version
    LEFT JOIN versions v ON d.rid IS NULL AND v.type=l.type AND v.id=l.id AND v.version=l.version
    ORDER BY l.seq"""


def exists(connections: SqliteConnections) -> bool:
    """Whether the file holds a store. Raises StartupError for a file of another program."""
    path = connections.path
    if not Path(path).exists() or not check_header(path):
        return False
    try:
        session = connections.session()
        if session.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
            return False  # the file was created and the tables were not
        check_format(path, session)
    except (StoreError, sqlite3.Error) as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem}") from problem
    return True


def versions(connections: SqliteConnections, after: int) -> Iterator[TransferredVersion]:
    """Yields the versions with a greater log.seq, in its order. One body is in memory at a time."""
    while True:
        before = after
        for seq, *row, unique in connections.session().execute(_VERSIONS, (after, _BATCH)):
            after = seq
            yield TransferredVersion(Stored(*row)._replace(deleted=bool(row[4])), [seq], tuple(json.loads(unique)))
        if after == before:
            return


def record_kinds(session: SqliteSession) -> Iterator[str]:
    sql = "SELECT kind FROM records WHERE kind>? ORDER BY kind LIMIT 1"
    last = ""
    while (row := session.execute(sql, (last,)).fetchone()) is not None:
        last = row[0]
        yield last


class SqliteRestore(SqliteCommit):
    """Restores versions of another store, inside one transaction."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout):
        super().__init__(session, layout)
        check_schema(session, layout)
        last = self._execute("SELECT seq, high FROM log ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0)
        self._seq, self._high = last[0] + 1, last[1]
        self._updated = (last[0] >> COUNTER) * 1000

    def restore(
        self, versions: Sequence[TransferredVersion], rows: Sequence[set[Row]], records: Sequence[Record]
    ) -> None:
        for version, entries in zip(versions, rows, strict=True):
            self._restore_version(version, change_of(version), entries)
        for record in records:
            self._record(record)

    def _restore_version(self, version: TransferredVersion, change: Change, rows: set[Row]) -> None:
        updated = version.stored.updated
        if updated < self._updated:
            raise VersionOutOfOrder(version.stored)
        # The same dates and the same order give the same seq as in the source store.
        self._seq, self._updated = max(self._seq, updated // 1000 << COUNTER), updated
        stored = self._change(change, rows)
        for key in change.unique:
            self._execute("DELETE FROM uniq WHERE key=?", (key,))
            self._claim(key, stored)
