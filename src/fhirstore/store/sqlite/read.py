"""Reads that are no searches: one resource, many by reference, the targets of references, history, everything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fhirstore.model.conditions import MAX_TIME, MIN_TIME
from fhirstore.model.stored import Record, Stored
from fhirstore.store.protocol import ResultPage
from fhirstore.store.sqlite.connection import Session
from fhirstore.store.sqlite.leaves import listed
from fhirstore.store.sqlite.recent import BODY, CURRENT, Recent, Row
from fhirstore.store.sqlite.write import COUNTER

_BATCH = 500
_CURRENT = "SELECT version, updated, method, meta, body, rid FROM docs WHERE type=? AND id=?"
_OLD = "SELECT version, updated, deleted, method, meta, body FROM versions WHERE type=? AND id=?"
_LIMITS = 2**63 - 1


def read_one(session: Session, type: str, id: str, version: int | None) -> Stored | None:
    """The current version or the one asked for; one statement, one state of the store, in the usual case."""
    row = session.execute(_CURRENT, (type, id)).fetchone()
    if row is not None and (version is None or row[0] == version):
        return Stored(type, id, row[0], row[1], False, *row[2:])
    if version is None:
        # No live resource: the last version is a deletion, unless it was made again since the first look.
        row = session.execute(f"{_OLD} ORDER BY version DESC LIMIT 1", (type, id)).fetchone()
    elif version > _LIMITS:
        return None
    else:
        row = session.execute(f"{_OLD} AND version=?", (type, id, version)).fetchone()
    return None if row is None else Stored(type, id, row[0], row[1], bool(row[2]), *row[3:])


def read_many(session: Session, recent: Recent, refs: Iterable[str]) -> list[Stored]:
    """The live ones of these. By row id, which costs a third, where one is known."""
    known, unknown = recent.rids(refs)
    rows: list[Row] = []
    if known:
        sql = f"SELECT {CURRENT} FROM json_each(?) j CROSS JOIN docs d ON d.rid=j.value"
        rows = session.execute(sql, (str(list(known)),)).fetchall()
        if len(rows) < len(known):  # some were deleted, and may be there again under another row id
            found = {rid for rid, _ in rows}
            unknown += [ref for rid, ref in known.items() if rid not in found]
    if not unknown:
        return recent.resources(session, rows)
    resources = recent.resources(session, _rows_of(session, unknown))
    recent.named(resources)
    return recent.resources(session, rows) + resources


def _rows_of(session: Session, refs: Iterable[str]) -> list[Row]:
    by_type: dict[str, set[str]] = {}
    for ref in refs:
        type, _, id = ref.partition("/")
        by_type.setdefault(type, set()).add(id)
    rows: list[Row] = []
    for type in sorted(by_type):
        wanted, args = listed(list(by_type[type]))
        sql = (
            f"WITH w(id) AS ({wanted}) SELECT {CURRENT} FROM w CROSS JOIN docs d INDEXED BY docs_id"
            " ON d.type=? AND d.id=w.id"
        )
        rows += session.execute(sql, (*args, type)).fetchall()
    return rows


def _first_seq(updated: int | None, otherwise: int) -> int:
    """The least log.seq of versions not older than `updated`."""
    if updated is None:
        return otherwise
    return min(max(-(-updated // 1000) << COUNTER, 0), _LIMITS)


def _span(type: str | None, since: int | None, until: int | None, before: int | None) -> tuple[str, list[Any]]:
    """FROM … WHERE of the log, the part of it that is asked for."""
    end = _first_seq(until, _LIMITS)
    bounds = [_first_seq(since, 0), end if before is None else min(end, before)]
    if type is None:
        return "log l WHERE l.seq>=? AND l.seq<?", bounds
    return "log l INDEXED BY log_type WHERE l.type=? AND l.seq>=? AND l.seq<?", [type, *bounds]


def history(
    session: Session, type: str | None, since: int | None, until: int | None, after: list[Any] | None, limit: int
) -> ResultPage:
    """The history of a type, or of everything; pages start behind a version, given as (updated, type, id, version):
    this means the same in every engine."""
    span, args = _span(type, since, until, _seq_of(session, *after) if after else None)
    # The newest versions are in docs, the others in versions.
    sql = f"""SELECT l.type, l.id, l.version, coalesce(d.updated, v.updated), coalesce(v.deleted, 0),
        coalesce(d.method, v.method), coalesce(d.meta, v.meta), coalesce(d.body, v.body), d.rid
        FROM (SELECT * FROM {span} ORDER BY l.seq DESC LIMIT ?) l
        LEFT JOIN docs d ON d.type=l.type AND d.id=l.id AND d.version=l.version
        LEFT JOIN versions v ON d.rid IS NULL AND v.type=l.type AND v.id=l.id AND v.version=l.version
        ORDER BY l.seq DESC"""
    rows = session.execute(sql, (*args, limit + 1 if limit >= 0 else -1)).fetchall()
    entries = [Stored(*row)._replace(deleted=bool(row[4])) for row in rows]
    if limit < 0 or len(rows) <= limit:
        return ResultPage(entries, None)
    last = entries[limit - 1]
    return ResultPage(entries[:limit], [last.updated, last.type, last.id, last.version])


def _seq_of(session: Session, updated: int, type: str, id: str, version: int) -> int:
    """Where the version stands in the log; the log has no index for this, but dates are its order."""
    sql = "SELECT seq FROM log NOT INDEXED WHERE seq>=? AND type=? AND id=? AND version=? ORDER BY seq LIMIT 1"
    row = session.execute(sql, (_first_seq(updated, 0), type, id, version)).fetchone()
    if row is None:
        raise ValueError(f"there is no version {version} of {type}/{id}")
    found: int = row[0]
    return found


def history_of(
    session: Session,
    type: str,
    id: str,
    since: int | None,
    until: int | None,
    after: list[Any] | None,
    limit: int,
) -> ResultPage:
    """The history of one resource; pages start behind a version."""
    bounds = (
        type,
        id,
        after[0] if after else _LIMITS,
        MIN_TIME if since is None else since,
        MAX_TIME if until is None else until,
    )
    test = "WHERE type=? AND id=? AND version<? AND updated>=? AND updated<?"
    sql = f"""SELECT version, updated, 0, method, meta, body, rid FROM docs {test}
        UNION ALL SELECT version, updated, deleted, method, meta, body, NULL FROM versions {test}
        ORDER BY version DESC LIMIT ?"""
    rows = session.execute(sql, (*bounds, *bounds, limit + 1 if limit >= 0 else -1)).fetchall()
    entries = [Stored(type, id, row[0], row[1], bool(row[2]), *row[3:]) for row in rows]
    if limit < 0 or len(rows) <= limit:
        return ResultPage(entries, None)
    return ResultPage(entries[:limit], [entries[limit - 1].version])


def history_count(session: Session, type: str | None, id: str | None, since: int | None, until: int | None) -> int:
    if type is None or id is None:
        span, args = _span(type, since, until, None)
        found: int = session.execute(f"SELECT count(*) FROM {span}", args).fetchone()[0]
        return found
    test = "WHERE type=? AND id=? AND updated>=? AND updated<?"
    args = [type, id, MIN_TIME if since is None else since, MAX_TIME if until is None else until]
    sql = f"SELECT (SELECT count(*) FROM docs {test}) + (SELECT count(*) FROM versions {test})"
    counted: int = session.execute(sql, args * 2).fetchone()[0]
    return counted


def types(session: Session) -> Iterator[str]:
    """The types of which there are live resources."""
    last = ""
    while (row := session.execute("SELECT min(type) FROM docs WHERE type>?", (last,)).fetchone())[0] is not None:
        last = row[0]
        yield last


def batch(session: Session, type: str, after: str, size: int = _BATCH) -> list[Stored]:
    """The next live resources of the type by id."""
    sql = f"SELECT {BODY} FROM docs d INDEXED BY docs_id WHERE d.type=? AND d.id>? ORDER BY d.id LIMIT ?"
    return [Stored(*row) for row in session.execute(sql, (type, after, size))]


def get_record(session: Session, kind: str, key: str) -> Record | None:
    row = session.execute("SELECT value FROM records WHERE kind=? AND key=?", (kind, key)).fetchone()
    return None if row is None else Record(kind, key, row[0])


def records(session: Session, kind: str, after: str, limit: int) -> list[Record]:
    sql = "SELECT key, value FROM records WHERE kind=? AND key>? ORDER BY key LIMIT ?"
    return [Record(kind, key, value) for key, value in session.execute(sql, (kind, after, limit))]
