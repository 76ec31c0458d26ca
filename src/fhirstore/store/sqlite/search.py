"""Searches: filter-first (enumerate the matches, then sort) or order-first (walk the order, check each resource).

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
from fhirstore.model.stored import Stored
from fhirstore.store.protocol import ResultPage
from fhirstore.store.sqlite.compile import PRIMARY, CheckedResource, SqlStatement
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.leaf_sql import LEAVES, Sql, is_distinct
from fhirstore.store.sqlite.plan import FEW, MANY, Planner
from fhirstore.store.sqlite.resource_cache import CURRENT, CacheRow, ResourceCache
from fhirstore.store.sqlite.simplify import KeyIs, simplified

FOUND = f"{CURRENT}, d.id"
"""The columns of a row before the sort keys."""
_ALL = -1
_TIES = 500  # more resources than this with one key are found by a search of their own


class SqliteSearch:
    """One search on one type."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout, type: str, where: Condition):
        self._session = session
        self._execute = session.execute
        self._layout = layout
        self._type = type
        self._where = simplified(layout, type, where)
        self._planner = Planner(session, layout)

    def count(self, at_most: int | None) -> int:
        statement = SqlStatement(self._planner)
        limit = _ALL if at_most is None else at_most
        name = statement.named(statement.rows(self._type, self._where))
        distinct = "DISTINCT " * self._may_repeat()
        sql, args = statement.finished((f"SELECT count(*) FROM (SELECT {distinct}r FROM {name} LIMIT ?)", [limit]))
        found: int = self._execute(sql, args).fetchone()[0]
        return found

    def _may_repeat(self) -> bool:
        """Whether the rows of the condition may contain duplicates."""
        path = self._planner.access_path(self._type, self._where)
        if path is None or path.compound is not None:
            return False  # the members of compound indexes are single-valued, and their bounds are distinct
        if isinstance(path.driver, LEAVES):
            return not is_distinct(path.driver, self._layout.param(self._type, path.driver.param).single)
        return True

    def ids(self, limit: int) -> list[str]:
        """Returns the ids of up to `limit` matching resources, in any order."""
        statement = SqlStatement(self._planner)
        rows, args = statement.rows(self._type, self._where)
        sql = f"SELECT d.id FROM docs d WHERE d.rid IN ({rows}) LIMIT ?"
        return [id for (id,) in self._execute(*statement.finished((sql, [*args, limit])))]

    def page(
        self, cache: ResourceCache, sort: Sequence[Sort], after: list[Any] | None, limit: int | None
    ) -> ResultPage:
        """Returns a page, with the bodies from the cache where possible."""
        sorts, descending = _order(sort)
        if after is not None and len(after) != len(sorts) + 1:
            raise ValueError("the page token belongs to another sort")
        if limit == 0:
            return ResultPage([], None)
        if (limit is None or limit >= MANY) and after is None and not sorts:
            # A page that probably holds all matches needs no order.
            found = self._all(cache, descending, limit)
            if found is not None:
                return ResultPage(found, None)
        rows = self._ordered(self._where, sorts, descending, after, None if limit is None else limit + 1)
        entries = cache.resources(self._session, rows[:limit])
        if limit is None or len(rows) <= limit:
            return ResultPage(entries, None)
        _, _, id, *keys = rows[limit - 1]
        return ResultPage(entries, [*keys, id])

    def _all(self, cache: ResourceCache, descending: bool, limit: int | None) -> list[Stored] | None:
        """Returns all matches by id, None if there are more than `limit`. Sorting uses the ids of the resources, which
        are cached or needed anyway."""
        statement = SqlStatement(self._planner)
        name = statement.named(statement.rows(self._type, self._where))
        distinct = "DISTINCT " * self._may_repeat()
        sql = f"SELECT {distinct}{CURRENT} FROM {name} CROSS JOIN docs d ON d.rid={name}.r LIMIT ?"
        at_most = _ALL if limit is None else limit + 1
        rows = self._execute(*statement.finished((sql, [at_most]))).fetchall()
        if limit is not None and len(rows) > limit:
            return None
        found = cache.resources(self._session, rows)
        found.sort(key=itemgetter(1), reverse=descending)
        return found

    def _budget(self, where: Condition, need: int | None) -> int:
        """Returns 0 to filter first, otherwise the number of resources to check in order; _ALL for no limit."""
        path = self._planner.access_path(self._type, where)
        if need is None:
            return 0
        if path is None:
            return _ALL
        size = self._planner.size(self._type, path, FEW)
        if size < FEW:
            return 0
        size = self._planner.size(self._type, path, MANY)
        greatest = self._execute("SELECT max(rid) FROM docs").fetchone()[0] or 0
        # In order, need * all / matching resources are checked before the page is full.
        return 0 if size < MANY and size * size <= need * greatest else 2 * size

    def _ordered(
        self, where: Condition, sorts: Sequence[Sort], descending: bool, after: list[Any] | None, need: int | None
    ) -> list[CacheRow]:
        budget = self._budget(where, need)
        found: list[CacheRow] | None = None
        if need is not None and budget != 0:
            if sorts:
                found = self._by_first_key(where, sorts, descending, after, need, budget)
            else:
                found = self._by_id(where, descending, after, need, budget)
        return self._filtered(where, sorts, descending, after, need) if found is None else found

    # --- filter-first ---

    def _filtered(
        self,
        where: Condition,
        sorts: Sequence[Sort],
        descending: bool,
        after: list[Any] | None,
        need: int | None,
    ) -> list[CacheRow]:
        statement = SqlStatement(self._planner)
        keys, args = self._keys(sorts, "d")
        names = [f"s{n}" for n in range(len(sorts))]
        selected = "".join([f", {key} AS {name}" for key, name in zip(keys, names, strict=True)])
        rows, more = statement.rows(self._type, where)
        test, bounds = _beyond(names, sorts, descending, after)
        order = "".join([f"{n} IS NULL, {n}{' DESC' * s.descending}, " for n, s in zip(names, sorts, strict=True)])
        sql = (
            f"SELECT {FOUND}{selected} FROM docs d WHERE d.rid IN ({rows}){test}"
            f" ORDER BY {order}d.id{' DESC' * descending} LIMIT ?"
        )
        limit = _ALL if need is None else need
        return self._execute(*statement.finished((sql, [*args, *more, *bounds, limit]))).fetchall()

    def _keys(self, sorts: Sequence[Sort], d: str) -> tuple[list[str], list[Any]]:
        """Returns SQL for the key of each sort."""
        keys, args = [], []
        for sort in sorts:
            if sort.param == "_lastUpdated":
                keys.append(f"{d}.updated")
            else:
                least = "max" if sort.descending else "min"
                keys.append(f"(SELECT {least}(k) FROM ix INDEXED BY ix_r WHERE r={d}.rid AND p=?)")
                args.append(self._layout.param(self._type, sort.param).p)
        return keys, args

    # --- order-first ---

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
        return found if len(found) == need or budget == _ALL else None

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
        keys, more = self._keys(rest, "d")
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
        if budget == _ALL or self._execute(f"{walk[0]} LIMIT 1 OFFSET ?", [*walk[1], budget]).fetchone() is None:
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


def _order(sort: Sequence[Sort]) -> tuple[list[Sort], bool]:
    """Returns the sorts before the id, and whether ids descend. Sorts after the id have no effect."""
    sorts: list[Sort] = []
    for one in sort:
        if one.param == "_id":
            return sorts, one.descending
        sorts.append(one)
    return sorts, False


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


def _beyond(names: Sequence[str], sorts: Sequence[Sort], descending: bool, after: list[Any] | None) -> Sql:
    """Returns the SQL test for rows after the position `after`."""
    if after is None:
        return "", []
    *keys, id = after
    test, args = f"d.id{'<' if descending else '>'}?", [id]
    for name, sort, key in reversed(list(zip(names, sorts, keys, strict=True))):
        if key is None:
            test = f"({name} IS NULL AND {test})"
        else:
            test = f"({name} IS NULL OR {name}{'<' if sort.descending else '>'}? OR ({name}=? AND {test}))"
            args = [key, key, *args]
    return f" AND {test}", args
