"""Resources that this process has fetched lately, kept so that the next search need not copy them out of the database.

What is kept is never stale: a row id is given out once and a version never changes, and a resource is asked for by
both, as the statement found them that says what matches.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from fhirstore.model.stored import Memo, Stored
from fhirstore.store.sqlite.connection import Session

BODY = "d.type, d.id, d.version, d.updated, 0, d.method, d.meta, d.body, d.rid"
"""The columns of a live resource, in the order of `Stored`."""
CURRENT = "d.rid, d.version"
"""The columns that `Recent.resources` starts from."""
Row = tuple[Any, ...]  # begins with CURRENT; or BODY

_OVERHEAD = 1000  # bytes of a Stored and its memo beside its meta and body, which the memo holds once more, about
_stored = partial(tuple.__new__, Stored)  # Stored._make without its check of the length
_GREATEST = 64 * 1024  # bytes; what is larger is not kept


class Recent:
    """At most `room` bytes of resources, in two halves: what is asked for moves to the young half; when that is full,
    it becomes the old one, and what had not moved meanwhile is forgotten. No look-up waits for a lock."""

    def __init__(self, room: int):
        self._half = room // 2
        self._young: dict[int, Stored] = {}
        self._old: dict[int, Stored] = {}
        self._rids: dict[str, int] = {}  # by "Type/id", of kept resources that were asked for so
        self._size = 0
        self._keeping = threading.Lock()

    def rids(self, refs: Iterable[str]) -> tuple[dict[int, str], list[str]]:
        """(the row ids that are known, with their reference; the other references). A row id belongs to one resource
        for ever, which may have been deleted meanwhile."""
        known, found, unknown = self._rids, dict[int, str](), list[str]()
        for ref in refs:
            rid = known.get(ref)
            if rid is None:
                unknown.append(ref)
            else:
                found[rid] = ref
        return found, unknown

    def named(self, resources: Sequence[Stored]) -> None:
        """Remembers the row ids of resources that were asked for by reference."""
        young = self._young
        self._rids.update({one.ref: one.key for one in resources if young.get(one.key) is one})

    def resources(self, session: Session, rows: Sequence[Row]) -> list[Stored]:
        """The resources of rows that begin with CURRENT, in their order; those deleted since are left out."""
        young = self._young
        found = [one if (one := young.get(row[0])) and one[2] == row[1] else None for row in rows]
        if all(found):
            return found  # type: ignore[return-value]
        fetched = self._fetched(session, [row for row, one in zip(rows, found, strict=True) if one is None])
        return [
            one
            for row, kept in zip(rows, found, strict=True)
            if (one := fetched.get(row[0]) if kept is None else kept) is not None
        ]

    def _fetched(self, session: Session, rows: Sequence[Row]) -> dict[int, Stored]:
        """The resources of the rows by row id, from the old half or the database."""
        old = self._old
        known = {row[0]: one for row in rows if (one := old.get(row[0])) and one.version == row[1]}
        unknown = [row[0] for row in rows if row[0] not in known]
        if unknown:
            sql = f"SELECT {BODY} FROM json_each(?) j CROSS JOIN docs d ON d.rid=j.value"
            found = session.execute(sql, (str(unknown),)).fetchall()
            known.update((row[-1], _stored((*row, Memo() if self._fits(row) else None))) for row in found)
        if self._half:
            self._keep(known)
        return known

    def _fits(self, row: Row) -> bool:
        """Whether the resource of a row of BODY may be kept."""
        return self._half > 0 and _size(row) <= _GREATEST

    def _keep(self, resources: dict[int, Stored]) -> None:
        with self._keeping:
            for rid, one in resources.items():
                if one.memo is None:
                    continue
                size = _size(one)
                if self._size + size > self._half:
                    self._old, self._young, self._size = self._young, {}, 0
                    self._rids = {}
                self._young[rid] = one
                self._size += size


def _size(row: Row) -> int:
    """The memory that the resource of a row of BODY takes once an answer has shown it, about."""
    return 2 * (len(row[6]) + len(row[7])) + _OVERHEAD


def targets(session: Session, sources: Sequence[Stored], p: int) -> set[str]:
    """What the reference parameter number p of these current versions names."""
    try:
        return set().union(*[source[9][p] for source in sources])  # type: ignore[index]
    except (KeyError, TypeError):  # not all of them are kept
        pass
    found: set[str] = set()
    missing: list[Stored] = []
    for source in sources:
        if source.memo is not None and p in source.memo:
            found.update(source.memo[p])
        else:
            missing.append(source)
    read = _read_targets(session, missing, p)
    found.update(*read.values())
    for one in missing:
        if one.memo is not None:
            one.memo[p] = tuple(read.get(one.key, ()))
    return found


def _read_targets(session: Session, sources: Sequence[Stored], p: int) -> dict[Any, list[str]]:
    sql = "SELECT i.r, i.k FROM json_each(?) j CROSS JOIN ix i INDEXED BY ix_r ON i.r=j.value AND i.p=?"
    rids = [source.key for source in sources if source.key is not None]
    found: dict[Any, list[str]] = {}
    for rid, target in session.execute(sql, (str(rids), p)):
        found.setdefault(rid, []).append(target)
    return found
