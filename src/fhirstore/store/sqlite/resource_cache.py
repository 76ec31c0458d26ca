"""Recently read resources in memory, so that the next search does not copy them out of the database.

Entries are never stale: a row id is used once and a version never changes. The statement that evaluates the search
returns row id and version, and both must match the cached resource.

docs/adr/0015 gives the reason for an own cache instead of cachetools: look-ups need neither a lock nor bookkeeping.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from fhirstore.model.stored import Stored, VersionCache
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.normal_form import values_query

BODY = "d.type, d.id, d.version, d.updated, 0, d.method, d.meta, d.body, d.rid"
"""The columns of a live resource, in the order of `Stored`."""
CURRENT = "d.rid, d.version"
"""The columns that `ResourceCache.resources` starts from."""
CacheRow = tuple[Any, ...]  # starts with CURRENT; or BODY

_OVERHEAD = 1000  # bytes, about, of a Stored and its cache without meta, body and rendered entries
_stored = partial(tuple.__new__, Stored)  # Stored._make without its length check
_GREATEST = 64 * 1024  # bytes; larger resources are not cached


class ResourceCache:
    """At most `room` bytes of resources, in two generations. A resource that is read moves to the young generation.
    When that is full, it becomes the old generation, and the old one is dropped. Look-ups take no lock."""

    def __init__(self, room: int):
        self._half = room // 2
        self._young: dict[int, Stored] = {}
        self._old: dict[int, Stored] = {}
        self._rids: dict[str, int] = {}  # by "Type/id": cached resources that were read by reference
        self._size = 0
        self._writing = threading.Lock()

    def rids(self, refs: Iterable[str]) -> tuple[dict[int, str], list[str]]:
        """Returns the known row ids with their references, and the other references. A row id belongs to one resource
        for ever; the resource may have been deleted."""
        known, found, unknown = self._rids, dict[int, str](), list[str]()
        for ref in refs:
            rid = known.get(ref)
            if rid is None:
                unknown.append(ref)
            else:
                found[rid] = ref
        return found, unknown

    def remember_rids(self, resources: Sequence[Stored]) -> None:
        """Remembers the row ids of resources that were read by reference."""
        young = self._young
        self._rids.update({one.ref: one.key for one in resources if young.get(one.key) is one})

    def resources(self, session: SqliteSession, rows: Sequence[CacheRow]) -> list[Stored]:
        """Returns the resources of rows that start with CURRENT, in their order, without those deleted since."""
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

    def _fetched(self, session: SqliteSession, rows: Sequence[CacheRow]) -> dict[int, Stored]:
        """Returns the resources of the rows by row id, from the old generation or the database."""
        old = self._old
        known = {row[0]: one for row in rows if (one := old.get(row[0])) and one.version == row[1]}
        unknown = [row[0] for row in rows if row[0] not in known]
        if unknown:
            sql = f"SELECT {BODY} FROM json_each(?) j CROSS JOIN docs d ON d.rid=j.value"
            found = session.execute(sql, (str(unknown),)).fetchall()
            known.update((row[-1], _stored((*row, VersionCache() if self._fits(row) else None))) for row in found)
        if self._half:
            self._store(known)
        return known

    def _fits(self, row: CacheRow) -> bool:
        """Whether the resource of a row of BODY may be cached."""
        return self._half > 0 and _size(row) <= _GREATEST

    def _store(self, resources: dict[int, Stored]) -> None:
        with self._writing:
            for rid, one in resources.items():
                if one.cache is None:
                    continue
                size = _size(one)
                if self._size + size > self._half:
                    self._old, self._young, self._size = self._young, {}, 0
                    self._rids = {}
                self._young[rid] = one
                self._size += size


def _size(row: CacheRow) -> int:
    """Returns the memory of the resource of a row of BODY, in bytes, about: with one rendered entry. Each further entry
    (see `VersionCache`) adds as much again; few resources have one."""
    return 2 * (len(row[6]) + len(row[7])) + _OVERHEAD


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


def reference_targets(session: SqliteSession, sources: Sequence[Stored], p: int) -> set[str]:
    """Returns the targets of the reference parameter with the number p in these current versions."""
    try:
        return set().union(*[source.cache.targets[p] for source in sources])  # type: ignore[union-attr]
    except (KeyError, AttributeError):  # some are not cached
        pass
    found: set[str] = set()
    missing: list[Stored] = []
    for source in sources:
        if source.cache is not None and p in source.cache.targets:
            found.update(source.cache.targets[p])
        else:
            missing.append(source)
    read = _read_targets(session, missing, p)
    found.update(*read.values())
    for one in missing:
        if one.cache is not None:
            one.cache.targets[p] = tuple(read.get(one.key, ()))
    return found


def _read_targets(session: SqliteSession, sources: Sequence[Stored], p: int) -> dict[Any, list[str]]:
    sql = "SELECT i.r, i.k FROM json_each(?) j CROSS JOIN ix i INDEXED BY ix_r ON i.r=j.value AND i.p=?"
    rids = [source.key for source in sources if source.key is not None]
    found: dict[Any, list[str]] = {}
    for rid, target in session.execute(sql, (str(rids), p)):
        found.setdefault(rid, []).append(target)
    return found
