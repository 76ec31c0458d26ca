"""Searches: a planner chooses the access path of each condition, then the matches are enumerated and sorted.

The access path of an `And` is the part with the fewest rows, found by counting. Counting stops at 50, 1 000 or 10 000
rows, so a plan costs microseconds and does not depend on statistics that may be out of date. Parts whose rows can be
listed are *enumerable*; the others can only be checked.

If a page needs few of many matches, `walk` is faster: it follows the order and checks each resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from fhirstore.model.conditions import And, Chain, Condition, Date, Ids, Not, Or, Reference, ReverseChain, Sort
from fhirstore.model.stored import Stored
from fhirstore.store.protocol import ResultPage
from fhirstore.store.sqlite.compile import AccessPath, SqlStatement
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.normal_form import LEAVES, Codes, Pairs, Sql, is_distinct, rank, simplified
from fhirstore.store.sqlite.resource_cache import CURRENT, CacheRow, ResourceCache

FEW = 1000
MANY = 10 * FEW
_CAPS = (50, FEW, MANY)
_MOST_ALTERNATIVES = 100  # of one condition that is enumerated; alternatives on one parameter count as one
FOUND = f"{CURRENT}, d.id"
"""The columns of a row before the sort keys."""
ALL = -1


class Planner:
    """The access paths of one search. Counts are cached."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout):
        self.layout = layout
        self._session = session
        self.paths: dict[int, tuple[Condition, AccessPath | None]] = {}
        self.lists: dict[int, tuple[Condition, list[int]]] = {}
        self._sizes: dict[int, tuple[object, int, int]] = {}  # by id(): the counted object, the cap, the count

    def access_path(self, type: str, where: Condition) -> AccessPath | None:
        """How to enumerate the resources of the type that satisfy the condition. None: check all of them."""
        known = self.paths.get(id(where))
        if known is None:
            known = self.paths[id(where)] = (where, self._chosen(type, where))
        return known[1]

    def size(self, type: str, path: AccessPath | None, cap: int) -> int:
        """Returns the number of rows of the driver, at most `cap`, or `cap` if even counting takes long."""
        if path is None or path.weak:
            return cap
        what = path if path.driver is None else path.driver
        known = self._sizes.get(id(what))
        if known is not None and (known[2] < known[1] or cap <= known[1]):
            return min(known[2], cap)
        found = self._counted(type, path, cap) if path.driver is None else self._size(type, path.driver, cap)
        self._sizes[id(what)] = (what, cap, found)
        return found

    def _chosen(self, type: str, where: Condition) -> AccessPath | None:
        if not isinstance(where, And):
            return AccessPath(where, ()) if _enumerable(where) else None
        parts = where.parts
        others = [part for part in parts if _enumerable(part)]
        compound = self._compound(type, parts)
        if compound is not None and not compound.weak:
            covered = {part.param for part in compound.members if isinstance(part, Codes | Date | Reference | Chain)}
            others = [part for part in others if getattr(part, "param", None) not in covered]
        if len(others) > 1:
            others.sort(key=rank)
        paths = [AccessPath(one, tuple(part for part in parts if part is not one)) for one in others]
        if compound is not None:
            paths.insert(len(paths) if compound.weak else 0, compound)
        if len(paths) < 2:
            return paths[0] if paths else None
        for cap in _CAPS:
            best, least = paths[0], cap
            for path in paths:
                size = self.size(type, path, least)
                if size < least:
                    best, least = path, size
                if least < _CAPS[0]:
                    return best
            if least < cap:
                return best
        return paths[0]

    def _compound(self, type: str, parts: Sequence[Condition]) -> AccessPath | None:
        """Returns the compound index with the most bounded members, at least two."""
        found: AccessPath | None = None
        for index in self.layout.compounds.get(type, ()):
            members, exact = list[Condition](), set[int]()
            for code in index.params:
                bound = None
                for part in parts:
                    if getattr(part, "param", None) == code and (bound := _compound_member(part)) is not None:
                        members.append(bound)
                        if bound == part:
                            exact.add(id(part))
                        break
                if bound is None or isinstance(bound, Date):
                    break
            if len(members) >= 2 and (found is None or len(members) > len(found.members)):
                rest = tuple(part for part in parts if id(part) not in exact)
                found = AccessPath(None, rest, index, tuple(members), self._is_weak(members))
        return found

    def _is_weak(self, members: Sequence[Condition]) -> bool:
        return any(isinstance(member, Chain) and self._starts_with_many(member) for member in members)

    def _starts_with_many(self, chain: Chain) -> bool:
        """Whether the target of a chain has many rows. Rows that follow from few are not counted: that costs as much as
        following them."""
        path = self.access_path(chain.type, chain.where)
        if path is not None and isinstance(path.driver, Chain):
            return self._starts_with_many(path.driver)
        if path is not None and isinstance(path.driver, Pairs | Ids):
            return self._list(chain.type, path.driver) >= FEW
        return self.size(chain.type, path, FEW) >= FEW

    def _list(self, type: str, where: Condition) -> int:
        """Returns the number of rows of the condition, at most FEW. Lists them if there are fewer."""
        sql, args = SqlStatement(self).path_rows(type, AccessPath(where, ()))
        rows = self._session.execute(f"{sql} LIMIT {FEW}", args).fetchall()
        if len(rows) < FEW:
            self.lists[id(where)] = (where, [rid for (rid,) in rows])
        return len(rows)

    def _size(self, type: str, where: Condition, cap: int) -> int:
        match where:
            case Ids(ids):
                return min(len(ids), cap)
            case Or(parts):
                total = 0
                for part in parts:
                    total += self._size(type, part, cap - total)
                    if total >= cap:
                        break
                return total
            case And():
                return self.size(type, self.access_path(type, where), cap)
            case Chain(_, other, inner) | ReverseChain(other, _, inner):
                # Few matches may follow from many candidates; counting would not stop early.
                if self.size(other, self.access_path(other, inner), FEW) >= FEW:
                    return cap
        return self._counted(type, AccessPath(where, ()), cap)

    def _counted(self, type: str, path: AccessPath, cap: int) -> int:
        statement = SqlStatement(self)
        name = statement.named(statement.path_rows(type, path))
        sql, args = statement.finished((f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT ?)", [cap]))
        found: int = self._session.execute(sql, args).fetchone()[0]
        return found


def _enumerable(where: Condition) -> bool:
    match where:
        case And(parts):
            return any(_enumerable(part) for part in parts)
        case Or(parts):
            return 0 < len(parts) <= _MOST_ALTERNATIVES and all(_enumerable(part) for part in parts)
        case Not():
            return False
    return True


def _compound_member(part: Condition) -> Condition | None:
    """Returns a bound of a compound index member that holds wherever the part holds, None if there is no such bound."""
    match part:
        case Reference() | Chain() | Codes():
            return part
        case Pairs(param, pairs):
            return Codes(param, tuple(dict.fromkeys(code for code, _ in pairs)))
        case Date(param, low_ge, low_lt, high_le, _):
            # A date that ends by high_le begins by then, too.
            bounds = [bound for bound in (low_lt, None if high_le is None else high_le + 1) if bound is not None]
            if low_ge is None and not bounds:
                return None
            return Date(param, low_ge=low_ge, low_lt=min(bounds) if bounds else None)
    return None


class SqliteSearch:
    """One search on one type."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout, type: str, where: Condition):
        self.session = session
        self.layout = layout
        self.type = type
        self.where = simplified(layout, type, where)
        self.planner = Planner(session, layout)

    def count(self, at_most: int | None) -> int:
        distinct = "DISTINCT " * self._may_repeat()
        statement = SqlStatement(self.planner)
        limit = ALL if at_most is None else at_most
        name = statement.named(statement.rows(self.type, self.where))
        sql, args = statement.finished((f"SELECT count(*) FROM (SELECT {distinct}r FROM {name} LIMIT ?)", [limit]))
        found: int = self.session.execute(sql, args).fetchone()[0]
        return found

    def _may_repeat(self) -> bool:
        """Whether the rows of the condition may contain duplicates."""
        path = self.planner.access_path(self.type, self.where)
        if path is None or path.compound is not None:
            return False  # the members of compound indexes are single-valued, and their bounds are distinct
        if isinstance(path.driver, LEAVES):
            return not is_distinct(path.driver, self.layout.params[self.type][path.driver.param].single)
        return True

    def ids(self, limit: int) -> list[str]:
        """Returns the ids of up to `limit` matching resources, in any order."""
        statement = SqlStatement(self.planner)
        rows, args = statement.rows(self.type, self.where)
        sql = f"SELECT d.id FROM docs d WHERE d.rid IN ({rows}) LIMIT ?"
        return [id for (id,) in self.session.execute(*statement.finished((sql, [*args, limit])))]

    def page(
        self, cache: ResourceCache, sort: Sequence[Sort], after: list[Any] | None, limit: int | None
    ) -> ResultPage | None:
        """Returns a page, with the bodies from the cache where possible. None if there are many candidates, and a walk
        along the order may be faster."""
        sorts, descending = sort_order(sort)
        if after is not None and len(after) != len(sorts) + 1:
            raise ValueError("the page token belongs to another sort")
        if limit == 0:
            return ResultPage([], None)
        if (limit is None or limit >= MANY) and after is None and not sorts:
            # A page that probably holds all matches needs no order.
            found = self._all(cache, descending, limit)
            if found is not None:
                return ResultPage(found, None)
        need = None if limit is None else limit + 1
        if self.budget(self.where, need) != 0:
            return None
        return make_page(self.session, cache, self.filtered(self.where, sorts, descending, after, need), limit)

    def _all(self, cache: ResourceCache, descending: bool, limit: int | None) -> list[Stored] | None:
        """Returns all matches by id, None if there are more than `limit`. Sorting uses the ids of the resources, which
        are cached or needed anyway."""
        distinct = "DISTINCT " * self._may_repeat()
        statement = SqlStatement(self.planner)
        name = statement.named(statement.rows(self.type, self.where))
        sql = f"SELECT {distinct}{CURRENT} FROM {name} CROSS JOIN docs d ON d.rid={name}.r LIMIT ?"
        at_most = ALL if limit is None else limit + 1
        rows = self.session.execute(*statement.finished((sql, [at_most]))).fetchall()
        if limit is not None and len(rows) > limit:
            return None
        found = cache.resources(self.session, rows)
        found.sort(key=itemgetter(1), reverse=descending)
        return found

    def budget(self, where: Condition, need: int | None) -> int:
        """Returns 0 to filter first, otherwise the number of resources to check in order; ALL for no limit."""
        path = self.planner.access_path(self.type, where)
        if need is None:
            return 0
        if path is None:
            return ALL
        size = self.planner.size(self.type, path, FEW)
        if size < FEW:
            return 0
        size = self.planner.size(self.type, path, MANY)
        greatest = self.session.execute("SELECT max(rid) FROM docs").fetchone()[0] or 0
        # In order, need * all / matching resources are checked before the page is full.
        return 0 if size < MANY and size * size <= need * greatest else 2 * size

    def filtered(
        self,
        where: Condition,
        sorts: Sequence[Sort],
        descending: bool,
        after: list[Any] | None,
        need: int | None,
    ) -> list[CacheRow]:
        statement = SqlStatement(self.planner)
        keys, args = self.keys(sorts, "d")
        names = [f"s{n}" for n in range(len(sorts))]
        selected = "".join([f", {key} AS {name}" for key, name in zip(keys, names, strict=True)])
        rows, more = statement.rows(self.type, where)
        test, bounds = _beyond(names, sorts, descending, after)
        order = "".join([f"{n} IS NULL, {n}{' DESC' * s.descending}, " for n, s in zip(names, sorts, strict=True)])
        sql = (
            f"SELECT {FOUND}{selected} FROM docs d WHERE d.rid IN ({rows}){test}"
            f" ORDER BY {order}d.id{' DESC' * descending} LIMIT ?"
        )
        limit = ALL if need is None else need
        return self.session.execute(*statement.finished((sql, [*args, *more, *bounds, limit]))).fetchall()

    def keys(self, sorts: Sequence[Sort], d: str) -> tuple[list[str], list[Any]]:
        """Returns SQL for the key of each sort."""
        keys, args = [], []
        for sort in sorts:
            if sort.param == "_lastUpdated":
                keys.append(f"{d}.updated")
            else:
                least = "max" if sort.descending else "min"
                keys.append(f"(SELECT {least}(k) FROM ix INDEXED BY ix_r WHERE r={d}.rid AND p=?)")
                args.append(self.layout.param(self.type, sort.param).p)
        return keys, args


def make_page(session: SqliteSession, cache: ResourceCache, rows: Sequence[CacheRow], limit: int | None) -> ResultPage:
    """Returns the page of rows (FOUND, sort keys), which are one more than the limit if another page follows."""
    entries = cache.resources(session, rows[:limit])
    if limit is None or len(rows) <= limit:
        return ResultPage(entries, None)
    _, _, id, *keys = rows[limit - 1]
    return ResultPage(entries, [*keys, id])


def sort_order(sort: Sequence[Sort]) -> tuple[list[Sort], bool]:
    """Returns the sorts before the id, and whether ids descend. Sorts after the id have no effect."""
    sorts: list[Sort] = []
    for one in sort:
        if one.param == "_id":
            return sorts, one.descending
        sorts.append(one)
    return sorts, False


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
