"""Histories of a resource, of a type and of everything."""

from __future__ import annotations

from typing import Any

from fhirstore.model.conditions import MAX_TIME, MIN_TIME
from fhirstore.model.stored import Stored
from fhirstore.store.protocol import ResultPage, history_page, no_such_version, resource_history_page
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.write import COUNTER

_GREATEST = 2**63 - 1


def newest(session: SqliteSession) -> int:
    """Returns the `updated` of the newest version, 0 if there is no version."""
    row = session.execute("SELECT seq FROM log ORDER BY seq DESC LIMIT 1").fetchone()
    return 0 if row is None else (row[0] >> COUNTER) * 1000


def _first_seq(updated: int | None, otherwise: int) -> int:
    """Returns the least log.seq of versions with this `updated` or a later one."""
    if updated is None:
        return otherwise
    return min(max(-(-updated // 1000) << COUNTER, 0), _GREATEST)


def _span(type: str | None, since: int | None, until: int | None, before: int | None) -> tuple[str, list[Any]]:
    """Returns FROM … WHERE … for a span of the log."""
    end = _first_seq(until, _GREATEST)
    bounds = [_first_seq(since, 0), end if before is None else min(end, before)]
    if type is None:
        return "log l WHERE l.seq>=? AND l.seq<?", bounds
    return "log l INDEXED BY log_type WHERE l.type=? AND l.seq>=? AND l.seq<?", [type, *bounds]


def _sql_limit(limit: int | None) -> int:
    """One more than a page has: it tells whether a page follows."""
    return -1 if limit is None else limit + 1


def history(
    session: SqliteSession,
    type: str | None,
    since: int | None,
    until: int | None,
    after: list[Any] | None,
    limit: int | None,
) -> ResultPage:
    """See `HistoryStore.history`."""
    span, args = _span(type, since, until, _seq_of(session, *after) if after else None)
    # Current versions are in docs, the others in versions.
    sql = f"""SELECT l.type, l.id, l.version, coalesce(d.updated, v.updated), coalesce(v.deleted, 0),
        coalesce(d.method, v.method), coalesce(d.meta, v.meta), coalesce(d.body, v.body), d.rid
        FROM (SELECT * FROM {span} ORDER BY l.seq DESC LIMIT ?) l
        LEFT JOIN docs d ON d.type=l.type AND d.id=l.id AND d.version=l.version
        LEFT JOIN versions v ON d.rid IS NULL AND v.type=l.type AND v.id=l.id AND v.version=l.version
        ORDER BY l.seq DESC"""
    rows = session.execute(sql, (*args, _sql_limit(limit))).fetchall()
    return history_page([Stored(*row)._replace(deleted=bool(row[4])) for row in rows], limit)


def _seq_of(session: SqliteSession, updated: int, type: str, id: str, version: int) -> int:
    """Returns the log.seq of the version. The log has no index for it, but it is ordered by date."""
    sql = "SELECT seq FROM log NOT INDEXED WHERE seq>=? AND type=? AND id=? AND version=? ORDER BY seq LIMIT 1"
    row = session.execute(sql, (_first_seq(updated, 0), type, id, version)).fetchone()
    if row is None:
        raise no_such_version(type, id, version)
    found: int = row[0]
    return found


def resource_history(
    session: SqliteSession,
    type: str,
    id: str,
    since: int | None,
    until: int | None,
    after: list[Any] | None,
    limit: int | None,
) -> ResultPage:
    """See `HistoryStore.history`."""
    bounds = (
        type,
        id,
        after[0] if after else _GREATEST,
        MIN_TIME if since is None else since,
        MAX_TIME if until is None else until,
    )
    test = "WHERE type=? AND id=? AND version<? AND updated>=? AND updated<?"
    sql = f"""SELECT version, updated, 0, method, meta, body, rid FROM docs {test}
        UNION ALL SELECT version, updated, deleted, method, meta, body, NULL FROM versions {test}
        ORDER BY version DESC LIMIT ?"""
    rows = session.execute(sql, (*bounds, *bounds, _sql_limit(limit))).fetchall()
    return resource_history_page([Stored(type, id, row[0], row[1], bool(row[2]), *row[3:]) for row in rows], limit)


def history_count(
    session: SqliteSession, type: str | None, id: str | None, since: int | None, until: int | None
) -> int:
    if type is None or id is None:
        span, args = _span(type, since, until, None)
        found: int = session.execute(f"SELECT count(*) FROM {span}", args).fetchone()[0]
        return found
    test = "WHERE type=? AND id=? AND updated>=? AND updated<?"
    args = [type, id, MIN_TIME if since is None else since, MAX_TIME if until is None else until]
    sql = f"SELECT (SELECT count(*) FROM docs {test}) + (SELECT count(*) FROM versions {test})"
    counted: int = session.execute(sql, args * 2).fetchone()[0]
    return counted
