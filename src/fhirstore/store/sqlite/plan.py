"""Chooses the access path of a condition: the part with the fewest rows, found by counting.

Counting stops at 50, 1 000 or 10 000 rows, so a plan costs microseconds and does not depend on statistics that may be
out of date. Parts whose rows can be listed are *enumerable*; the others can only be checked.
"""

from __future__ import annotations

from collections.abc import Sequence

from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Date,
    Ids,
    Not,
    Or,
    Reference,
    ReverseChain,
)
from fhirstore.store.sqlite.access_path import AccessPath
from fhirstore.store.sqlite.compile import SqlStatement, compound_member
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.layout import SqliteLayout
from fhirstore.store.sqlite.simplify import Codes, KeyIs, Pairs, Prefixes

FEW = 1000
MANY = 10 * FEW
_CAPS = (50, FEW, MANY)
_MOST_ALTERNATIVES = 100  # of one condition; alternatives on one parameter count as one


class Planner:
    """The access paths of one search. Counts are cached."""

    def __init__(self, session: SqliteSession, layout: SqliteLayout):
        self.layout = layout
        self._session = session
        self._paths: dict[int, tuple[Condition, AccessPath | None]] = {}
        self._lists: dict[int, tuple[Condition, list[int]]] = {}
        self._sizes: dict[int, tuple[object, int, int]] = {}  # by id(): the counted object, the cap, the count

    def access_path(self, type: str, where: Condition) -> AccessPath | None:
        """See `AccessPaths.access_path`."""
        known = self._paths.get(id(where))
        if known is None:
            known = self._paths[id(where)] = (where, self._chosen(type, where))
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
        parts = where.parts if isinstance(where, And) else (where,)
        compound = self._compound(type, parts)
        if compound is not None and not compound.weak:
            covered = {part.param for part in compound.members if isinstance(part, Codes | Date | Reference | Chain)}
            others = [part for part in parts if _enumerable(part) and getattr(part, "param", None) not in covered]
        else:
            others = [part for part in parts if _enumerable(part)]
        others.sort(key=_rank)
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
                candidates = [part for part in parts if getattr(part, "param", None) == code]
                bounds = [(part, bound) for part in candidates if (bound := compound_member(part)) is not None]
                if not bounds:
                    break
                part, bound = bounds[0]
                members.append(bound)
                if bound == part:
                    exact.add(id(part))
                if isinstance(bound, Date):
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

    def listed(self, where: Condition) -> list[int] | None:
        """See `AccessPaths.listed`."""
        known = self._lists.get(id(where))
        return None if known is None else known[1]

    def _list(self, type: str, where: Condition) -> int:
        """Returns the number of rows of the condition, at most FEW. Lists them if there are fewer."""
        sql, args = SqlStatement(self).path_rows(type, AccessPath(where, ()))
        rows = self._session.execute(f"{sql} LIMIT {FEW}", args).fetchall()
        if len(rows) < FEW:
            self._lists[id(where)] = (where, [rid for (rid,) in rows])
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


def _rank(part: Condition) -> int:
    """The order of counting: parts that tend to have few rows come first."""
    match part:
        case Ids():
            return 0
        case Pairs() | Reference() | KeyIs():
            return 1
        case Codes() | Date() | Prefixes():
            return 2
    return 3
