"""Resources that this process has fetched lately, kept so that the next search need not copy them out of the database.

What is kept is never stale: a row id is given out once and a version never changes, and a resource is asked for by
both, as the statement found them that says what matches.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from fhirstore.store.base import Stored
from fhirstore.store.sqlite.connection import Session

BODY = "d.type, d.id, d.version, d.updated, 0, d.method, d.meta, d.body, d.rid"
"""The columns of a live resource, in the order of `Stored`."""
FOUND = "d.id, d.rid, d.version"
"""The columns that `Recent.resources` starts from."""
Row = tuple[Any, ...]  # FOUND, then the key of each sort

_OVERHEAD = 400  # bytes of a Stored beside its meta and body, about
_GREATEST = 64 * 1024  # bytes; what is larger is not kept
_stored = partial(tuple.__new__, Stored)  # Stored._make without its check of the length


def made(rows: Sequence[Row]) -> list[Stored]:
    """Stored resources from rows of the columns BODY."""
    return list(map(_stored, rows))


class Recent:
    """At most `room` bytes of resources, in two halves: what is asked for moves to the young half; when that is full,
    it becomes the old one, and what had not moved meanwhile is forgotten. No look-up waits for a lock."""

    def __init__(self, room: int):
        self._half = room // 2
        self._young: dict[int, Stored] = {}
        self._old: dict[int, Stored] = {}
        self._targets: dict[int, dict[int, tuple[Stored, tuple[str, ...]]]] = {}  # by parameter and row id
        self._size = 0
        self._keeping = threading.Lock()

    def resources(self, session: Session, rows: Sequence[Row]) -> list[Stored]:
        """The resources of rows that begin with FOUND, in their order; those deleted since are left out."""
        young = self._young
        found = [one if (one := young.get(row[1])) and one[2] == row[2] else None for row in rows]
        if all(found):
            return found  # type: ignore[return-value]
        fetched = self._fetched(session, [row for row, one in zip(rows, found, strict=True) if one is None])
        return [
            one
            for row, kept in zip(rows, found, strict=True)
            if (one := fetched.get(row[1]) if kept is None else kept) is not None
        ]

    def targets(self, session: Session, sources: Sequence[Stored], p: int) -> set[str]:
        """What the reference parameter number p of these current versions names."""
        known = self._targets.setdefault(p, {})
        found: set[str] = set()
        missing: list[Stored] = []
        for source in sources:
            one = known.get(source.key)
            if one is not None and one[0] is source:
                found.update(one[1])
            else:
                missing.append(source)
        if missing:
            read = self._read_targets(session, missing, p)
            found.update(*read.values())
            young = self._young
            # Only with a resource that is kept: else this would hold what there was no room for.
            kept = [one for one in missing if one.key is not None and young.get(one.key) is one]
            known.update((one.key, (one, tuple(read.get(one.key, ())))) for one in kept)
        return found

    @staticmethod
    def _read_targets(session: Session, sources: Sequence[Stored], p: int) -> dict[int, list[str]]:
        sql = "SELECT i.r, i.k FROM json_each(?) j CROSS JOIN ix i INDEXED BY ix_r ON i.r=j.value AND i.p=?"
        rids = [source.key for source in sources if source.key is not None]
        found: dict[int, list[str]] = {}
        for rid, target in session.execute(sql, (str(rids), p)):
            found.setdefault(rid, []).append(target)
        return found

    def _fetched(self, session: Session, rows: Sequence[Row]) -> dict[int, Stored]:
        """The resources of the rows by row id, from the old half or the database."""
        old = self._old
        known = {row[1]: one for row in rows if (one := old.get(row[1])) and one.version == row[2]}
        unknown = [row[1] for row in rows if row[1] not in known]
        if unknown:
            sql = f"SELECT {BODY} FROM json_each(?) j CROSS JOIN docs d ON d.rid=j.value"
            known.update((one.key, one) for one in made(session.execute(sql, (str(unknown),)).fetchall()))
        if self._half:
            self._keep(known)
        return known

    def _keep(self, resources: dict[int, Stored]) -> None:
        with self._keeping:
            for rid, one in resources.items():
                size = len(one.meta) + len(one.body) + _OVERHEAD
                if size > _GREATEST:
                    continue
                if self._size + size > self._half:
                    self._old, self._young, self._size = self._young, {}, 0
                    self._targets = {}
                self._young[rid] = one
                self._size += size
