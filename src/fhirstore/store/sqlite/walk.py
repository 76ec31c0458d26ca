"""Pages of searches with many candidates: filter-first or order-first.

Filter-first enumerates the matches and sorts them; order-first walks the order and checks each resource.

The cost of filter-first is proportional to the rows of the access path, that of order-first to the resources that are
checked until a page is full. Few rows are filtered first. For many rows, the order is walked until the cost of
filtering is reached; then they are filtered.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from fhirstore.model.conditions import (
    MATCH_ALL,
    MAX_TIME,
    MIN_TIME,
    And,
    Condition,
    Date,
    LastUpdated,
    Not,
    Present,
    Sort,
)
from fhirstore.store.protocol import ResultPage
from fhirstore.store.sqlite.compile import PRIMARY, CheckedResource, SqlStatement
from fhirstore.store.sqlite.normal_form import KeyIs, Sql
from fhirstore.store.sqlite.resource_cache import CacheRow, ResourceCache
from fhirstore.store.sqlite.search import ALL, FOUND, SqliteSearch, make_page, sort_order

_TIES = 500  # more resources than this with one key are found by a search of their own


class OrderWalk:
    """The sorted pages of one search."""

    def __init__(self, search: SqliteSearch):
        self._search = search
        self._execute = search.session.execute
        self._layout, self._type, self._planner = search.layout, search.type, search.planner

    def page(
        self, cache: ResourceCache, sort: Sequence[Sort], after: list[Any] | None, limit: int | None
    ) -> ResultPage:
        sorts, descending = sort_order(sort)
        rows = self._ordered(self._search.where, sorts, descending, after, None if limit is None else limit + 1)
        return make_page(self._search.session, cache, rows, limit)

    def _ordered(
        self, where: Condition, sorts: Sequence[Sort], descending: bool, after: list[Any] | None, need: int | None
    ) -> list[CacheRow]:
        budget = self._search.budget(where, need)
        found: list[CacheRow] | None = None
        if need is not None and budget != 0:
            if sorts:
                found = self._by_first_key(where, sorts, descending, after, need, budget)
            else:
                found = self._by_id(where, descending, after, need, budget)
        return self._search.filtered(where, sorts, descending, after, need) if found is None else found

    def _by_id(
        self, where: Condition, descending: bool, after: list[Any] | None, need: int, budget: int
    ) -> list[CacheRow] | None:
        """Returns None if the budget is exceeded."""
        statement = SqlStatement(self._planner)
        bound = "" if after is None else f" AND id{'<' if descending else '>'}?"
        walk = f"SELECT rid FROM docs INDEXED BY docs_id WHERE type=?{bound} ORDER BY id{' DESC' * descending} LIMIT ?"
        name = statement.named((walk, [self._type, *(after or ()), budget]))
        test, args = statement.check(where, CheckedResource(self._type, f"{name}.r", "d.id", "d.updated"))
        sql = f"SELECT {FOUND} FROM {name} CROSS JOIN docs d ON d.rid={name}.r WHERE {test} LIMIT ?"
        found = self._execute(*statement.finished((sql, [*args, need]))).fetchall()
        return found if len(found) == need or budget == ALL else None

    def _by_first_key(
        self,
        where: Condition,
        sorts: Sequence[Sort],
        descending: bool,
        after: list[Any] | None,
        need: int,
        budget: int,
    ) -> list[CacheRow] | None:
        """Walks the keys of the first sort. The resources with one key are ordered by the other sorts; resources
        without a key come last. Returns None if the budget is exceeded."""
        first, rest = sorts[0], sorts[1:]
        found: list[CacheRow] = []
        key: Any = None
        walking = after is not None
        if after is not None and after[0] is not None:
            key = after[0]
            found = self._group(where, first, key, rest, descending, after[1:], need)
        if after is None or after[0] is not None:
            while len(found) < need:
                start = key if walking else None
                groups, exhausted = self._groups(where, first, rest, start, need - len(found), budget)
                for key, rows in groups:
                    if len(rows) > _TIES:
                        rows = self._group(where, first, key, rest, descending, None, need - len(found))
                    else:
                        rows = [(*row[:3], key, *row[3:]) for row in _sorted(rows, rest, descending)]
                    found += rows
                    walking = True
                if exhausted is None:
                    return None
                if exhausted:
                    break
        if len(found) < need and first.param != "_lastUpdated":
            missing = _both(where, Not(Present(first.param)))
            rest_after = after[1:] if after is not None and after[0] is None else None
            rows = self._ordered(missing, rest, descending, rest_after, need - len(found))
            found += [(*row[:3], None, *row[3:]) for row in rows]
        return found[:need]

    def _group(
        self,
        where: Condition,
        first: Sort,
        key: Any,
        rest: Sequence[Sort],
        descending: bool,
        after: list[Any] | None,
        need: int,
    ) -> list[CacheRow]:
        """Returns the resources with this key of the first sort."""
        if first.param == "_lastUpdated":
            same: Condition = LastUpdated(key, key + 1)
        else:
            same = KeyIs(first.param, key, first.descending)
        rows = self._ordered(_both(where, same), rest, descending, after, need)
        return [(*row[:3], key, *row[3:]) for row in rows]

    def _groups(
        self, where: Condition, first: Sort, rest: Sequence[Sort], begin: Any, need: int, budget: int
    ) -> tuple[list[tuple[Any, list[CacheRow]]], bool | None]:
        """Returns keys after `begin` (None = from the start) with their resources, until `need` are found or a key has
        too many, and whether the order is exhausted (None if the budget is)."""
        statement = SqlStatement(self._planner)
        walk = self._walk(where, first, begin)
        name = statement.named((f"{walk[0]} LIMIT ?", [*walk[1], budget]), "k, r")
        test, args = statement.check(where, CheckedResource(self._type, f"{name}.r", "d.id", "d.updated"))
        if first.param != "_lastUpdated" and not (param := self._layout.param(self._type, first.param)).single:
            sooner = f"f.k{'>' if first.descending else '<'}{name}.k"
            test += f" AND NOT EXISTS(SELECT 1 FROM ix f INDEXED BY ix_r WHERE f.r={name}.r AND f.p=? AND {sooner})"
            args = [*args, param.p]
        keys, more = self._search.keys(rest, "d")
        columns = ", ".join([f"{name}.k", FOUND, *keys])
        sql = f"SELECT {columns} FROM {name} CROSS JOIN docs d ON d.rid={name}.r WHERE {test}"
        cursor = self._execute(*statement.finished((sql, [*more, *args])))
        groups: list[tuple[Any, list[CacheRow]]] = []
        total = 0
        seen: set[int] = set()
        for key, rid, version, id, *others in cursor:
            if not groups or groups[-1][0] != key:
                if total >= need:
                    cursor.close()
                    return groups, False
                groups.append((key, []))
                seen.clear()
            elif len(groups[-1][1]) > _TIES:
                cursor.close()
                return groups, False
            if rid not in seen:
                seen.add(rid)
                groups[-1][1].append((rid, version, id, *others))
                total += 1
        if budget == ALL or self._execute(f"{walk[0]} LIMIT 1 OFFSET ?", [*walk[1], budget]).fetchone() is None:
            return groups, True
        return groups, None

    def _walk(self, where: Condition, first: Sort, begin: Any) -> Sql:
        """Returns a query for the sort keys after `begin` and their rids, in order."""
        tests, args = list[str](), list[Any]()
        start: Any
        if first.param == "_lastUpdated":
            key, start = "updated", self._type
            sql = "SELECT updated, rid FROM docs INDEXED BY docs_updated WHERE type=?"
        else:
            param = self._layout.param(self._type, first.param)
            key, start = "k", param.p
            sql = f"SELECT k, r FROM ix {PRIMARY} WHERE p=?"
            if param.single and (bounds := _date_bounds(where, first.param)) is not None:
                # The search bounds the key, so the walk starts there.
                tests, args = ["k>=?", "k<?"], list(bounds)
        if begin is not None:
            tests.append(f"{key}{'<' if first.descending else '>'}?")
            args.append(begin)
        order = f"ORDER BY {key}{' DESC' * first.descending}"
        return f"{' AND '.join([sql, *tests])} {order}", [start, *args]


def _date_bounds(where: Condition, param: str) -> tuple[int, int] | None:
    """Returns the bounds [least, greatest) of the low end of the date `param`, None if the condition sets none."""
    for part in where.parts if isinstance(where, And) else (where,):
        if isinstance(part, Date) and part.param == param:
            low_lt = MAX_TIME + 1 if part.low_lt is None else part.low_lt
            return MIN_TIME if part.low_ge is None else part.low_ge, low_lt
    return None


def _both(where: Condition, more: Condition) -> Condition:
    if where == MATCH_ALL:
        return more
    return And((*where.parts, more)) if isinstance(where, And) else And((where, more))


def _sorted(rows: list[CacheRow], sorts: Sequence[Sort], descending: bool) -> list[CacheRow]:
    """Sorts rows (rid, version, id, keys…). Rows without a key come last."""
    rows = sorted(rows, key=itemgetter(2), reverse=descending)
    for column, sort in reversed(list(enumerate(sorts, 3))):
        given = [row for row in rows if row[column] is not None]
        given.sort(key=lambda row: row[column], reverse=sort.descending)
        rows = given + [row for row in rows if row[column] is None]
    return rows
