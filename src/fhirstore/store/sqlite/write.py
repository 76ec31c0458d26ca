"""Commits: guards, versions, unique keys, index rows, records, all in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from fhirstore.model.stored import Change, Guard, Record, RecordGuard, Stored
from fhirstore.store.commit_rules import check_distinct, check_guard, check_record_guard, next_version
from fhirstore.store.errors import DuplicateKey, Unavailable
from fhirstore.store.schema_rules import SCHEMA_CHANGED
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.layout import Row, SqliteLayout
from fhirstore.store.sqlite.search import SqliteSearch

COUNTER = 20  # bits of log.seq that count versions within one millisecond


def check_schema(session: SqliteSession, layout: SqliteLayout) -> None:
    """Raises Unavailable if another process has opened the database with another schema: the index entries of this
    process would be incomplete."""
    if session.execute("SELECT value FROM meta WHERE name='schema'").fetchone() != (layout.stamp,):
        raise Unavailable(SCHEMA_CHANGED)


def write_rows(session: SqliteSession, layout: SqliteLayout, type: str, rid: int, rows: set[Row], fresh: bool) -> None:
    """Replaces the index entries of the resource with `rows`. fresh: it has no entries yet."""
    old: set[Row] = set()
    if not fresh:
        old = set(session.execute("SELECT p, k, x FROM ix INDEXED BY ix_r WHERE r=?", (rid,)))
        if old == rows:
            return
        if removed := old - rows:
            session.conn.executemany(
                "DELETE FROM ix WHERE p=? AND k=? AND x=? AND r=?", [(*row, rid) for row in removed]
            )
    new = sorted(rows - old) if old else sorted(rows)
    session.conn.executemany("INSERT INTO ix VALUES (?,?,?,?)", [(*row, rid) for row in new])
    if type in layout.compounds:
        before, after = layout.compound_rows(type, old), layout.compound_rows(type, rows)
        if before != after:
            session.conn.executemany(
                "DELETE FROM cx WHERE c=? AND k1=? AND k2=? AND k3=? AND k4=? AND r=?", [(*row, rid) for row in before]
            )
            session.conn.executemany("INSERT INTO cx VALUES (?,?,?,?,?,?)", [(*row, rid) for row in after])


def prepare_rows(layout: SqliteLayout, changes: Sequence[Change]) -> list[set[Row]]:
    """Returns the index rows of each change. Raises ValueError for changes that no engine stores."""
    check_distinct(changes)
    return [layout.rows(change.type, change.index) for change in changes]


def unique_key_owner(session: SqliteSession, key: str) -> str | None:
    """See `AdministrationStore.unique_key_owner`."""
    sql = "SELECT d.type||'/'||d.id FROM uniq u CROSS JOIN docs d ON d.rid=u.r WHERE u.key=?"
    row = session.execute(sql, (key,)).fetchone()
    return None if row is None else str(row[0])


class SqliteCommit:
    """One commit, inside its transaction."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout):
        self._session = session
        self._execute = session.execute
        self._layout = layout

    def run(
        self,
        changes: Sequence[Change],
        rows: Sequence[set[Row]],
        guards: Sequence[Guard | RecordGuard],
        records: Sequence[Record],
    ) -> list[Stored]:
        if changes:
            check_schema(self._session, self._layout)
        for guard in guards:
            self._guard(guard)
        last = self._execute("SELECT seq, high FROM log ORDER BY seq DESC LIMIT 1").fetchone() or (0, 0)
        self._seq, self._high = max(int(time.time() * 1000) << COUNTER, last[0] + 1), last[1]
        self._updated = (self._seq >> COUNTER) * 1000
        stored = [self._change(change, entries) for change, entries in zip(changes, rows, strict=True)]
        for change, one in zip(changes, stored, strict=True):
            for key in dict.fromkeys(change.unique):
                self._claim(key, one)
        for record in records:
            self._record(record)
        return stored

    def _guard(self, guard: Guard | RecordGuard) -> None:
        if isinstance(guard, RecordGuard):
            sql = "SELECT value FROM records WHERE kind=? AND key=?"
            row = self._execute(sql, (guard.kind, guard.key)).fetchone()
            return check_record_guard(guard, row[0] if row else None)
        search = SqliteSearch(self._session, self._layout, guard.type, guard.where)
        return check_guard(guard, search.ids(len(guard.ids) + 1))

    def _change(self, change: Change, rows: set[Row]) -> Stored:
        type, id = change.type, change.id
        row = self._execute("SELECT rid, version FROM docs WHERE type=? AND id=?", (type, id)).fetchone()
        if row is None:
            rid = None
            actual: int | None = self._execute(
                "SELECT max(version) FROM versions WHERE type=? AND id=?", (type, id)
            ).fetchone()[0]
        else:
            rid, actual = row
        version = next_version(change, actual)
        if rid is not None:
            self._supersede(rid, change)
        if change.deleted:
            self._execute(
                "INSERT INTO versions VALUES (?,?,?,?,1,?,x'',x'')", (type, id, version, self._updated, change.method)
            )
            if rid is not None:
                self._execute("DELETE FROM docs WHERE rid=?", (rid,))
                write_rows(self._session, self._layout, type, rid, set(), False)
            rid = None
        else:
            rid = self._store(rid, change, version, rows)
        self._execute("INSERT INTO log VALUES (?,?,?,?,?)", (self._seq, type, id, version, self._high))
        self._seq += 1
        meta, body = (b"", b"") if change.deleted else (change.meta, change.body)
        return Stored(type, id, version, self._updated, change.deleted, change.method, meta, body, rid)

    def _supersede(self, rid: int, change: Change) -> None:
        """Moves the current version to the old ones and releases its unique keys."""
        self._execute(
            "INSERT INTO versions SELECT type, id, version, updated, 0, method, meta, body FROM docs WHERE rid=?",
            (rid,),
        )
        self._execute("DELETE FROM uniq WHERE r=?", (rid,))

    def _store(self, rid: int | None, change: Change, version: int, rows: set[Row]) -> int:
        fresh = rid is None
        if rid is None:
            self._high = rid = self._high + 1
            self._execute(
                "INSERT INTO docs VALUES (?,?,?,?,?,?,?,?)",
                (rid, change.type, change.id, version, self._updated, change.method, change.meta, change.body),
            )
        else:
            self._execute(
                "UPDATE docs SET version=?, updated=?, method=?, meta=?, body=? WHERE rid=?",
                (version, self._updated, change.method, change.meta, change.body, rid),
            )
        write_rows(self._session, self._layout, change.type, rid, rows, fresh)
        return rid

    def _claim(self, key: str, stored: Stored) -> None:
        if stored.deleted:
            return
        owner = unique_key_owner(self._session, key)
        if owner is not None:
            raise DuplicateKey(key, stored.type, stored.id, owner)
        self._execute("INSERT INTO uniq VALUES (?,?)", (key, stored.key))

    def _record(self, record: Record) -> None:
        args: tuple[Any, ...] = (record.kind, record.key)
        if record.value is None:
            self._execute("DELETE FROM records WHERE kind=? AND key=?", args)
        else:
            self._execute("INSERT OR REPLACE INTO records VALUES (?,?,?)", (*args, record.value))
