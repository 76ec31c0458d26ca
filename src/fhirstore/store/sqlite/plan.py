"""Which part of a condition drives: the one with the fewest rows, found by counting a few of them.

Counting stops early (50, 1 000, 10 000 rows), so a plan costs microseconds and never depends on statistics that
may be out of date. A part that is a list of rows of its own is *enumerable*; the others can only check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from fhirstore.store.sqlite.compile import Statement, compound_member
from fhirstore.store.sqlite.connection import Session
from fhirstore.store.sqlite.layout import Layout, StoredCompound
from fhirstore.store.sqlite.simplify import Codes, KeyIs, Pairs, Prefixes

FEW = 1000
MANY = 10 * FEW
_CAPS = (50, FEW, MANY)
_MOST_ALTERNATIVES = 100  # of one condition; those on one parameter are one where they can be listed


@dataclass(frozen=True, slots=True)
class Drive:
    """How to enumerate a condition: the rows of `driver`, or those of a compound index bounded by `members` (for
    its first columns, in order); then `rest` must be checked."""

    driver: Condition | None
    rest: tuple[Condition, ...]
    compound: StoredCompound | None = None
    members: tuple[Condition, ...] = ()
    weak: bool = False  # the first member of the compound index has many rows itself


class Planner:
    """Plans for one search; what was counted once is remembered."""

    def __init__(self, session: Session, layout: Layout):
        self.layout = layout
        self._session = session
        self._drives: dict[int, tuple[Condition, Drive | None]] = {}
        self._lists: dict[int, tuple[Condition, list[int]]] = {}
        self._sizes: dict[int, tuple[object, int, int]] = {}  # what was counted, up to which cap, the count

    def drive(self, type: str, where: Condition) -> Drive | None:
        """How to enumerate the resources for which the condition holds; None = only by looking at all."""
        known = self._drives.get(id(where))
        if known is None:
            known = self._drives[id(where)] = (where, self._chosen(type, where))
        return known[1]

    def size(self, type: str, drive: Drive | None, cap: int) -> int:
        """How many rows the driver has, at most `cap`; `cap` too where even counting would take long."""
        if drive is None or drive.weak:
            return cap
        what = drive if drive.driver is None else drive.driver
        known = self._sizes.get(id(what))
        if known is not None and (known[2] < known[1] or cap <= known[1]):
            return min(known[2], cap)
        found = self._counted(type, drive, cap) if drive.driver is None else self._size(type, drive.driver, cap)
        self._sizes[id(what)] = (what, cap, found)
        return found

    def _chosen(self, type: str, where: Condition) -> Drive | None:
        parts = where.parts if isinstance(where, And) else (where,)
        compound = self._compound(type, parts)
        if compound is not None and not compound.weak:
            covered = {part.param for part in compound.members if isinstance(part, Codes | Date | Reference | Chain)}
            others = [part for part in parts if _enumerable(part) and getattr(part, "param", None) not in covered]
        else:
            others = [part for part in parts if _enumerable(part)]
        others.sort(key=_rank)
        drives = [Drive(one, tuple(part for part in parts if part is not one)) for one in others]
        if compound is not None:
            drives.insert(len(drives) if compound.weak else 0, compound)
        if len(drives) < 2:
            return drives[0] if drives else None
        for cap in _CAPS:
            best, least = drives[0], cap
            for drive in drives:
                size = self.size(type, drive, least)
                if size < least:
                    best, least = drive, size
                if least < _CAPS[0]:
                    return best
            if least < cap:
                return best
        return drives[0]

    def _compound(self, type: str, parts: Sequence[Condition]) -> Drive | None:
        """The compound index of which the parts bound most members (two at least)."""
        found: Drive | None = None
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
                found = Drive(None, rest, index, tuple(members), self._is_weak(members))
        return found

    def _is_weak(self, members: Sequence[Condition]) -> bool:
        return any(isinstance(member, Chain) and self._starts_with_many(member) for member in members)

    def _starts_with_many(self, chain: Chain) -> bool:
        """Whether the far end of a chain has many rows; what follows from few is not counted, it costs as much as
        following it."""
        drive = self.drive(chain.type, chain.where)
        if drive is not None and isinstance(drive.driver, Chain):
            return self._starts_with_many(drive.driver)
        if drive is not None and isinstance(drive.driver, Pairs | Ids):
            return self._list(chain.type, drive.driver) >= FEW
        return self.size(chain.type, drive, FEW) >= FEW

    def listed(self, where: Condition) -> list[int] | None:
        """The row ids for which the condition holds, where the plan has listed them; the statement need not look for
        them again. Both are made in one transaction."""
        known = self._lists.get(id(where))
        return None if known is None else known[1]

    def _list(self, type: str, where: Condition) -> int:
        """How many rows the condition has, at most FEW; fewer are listed."""
        sql, args = Statement(self).driver_rows(type, Drive(where, ()))
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
                return self.size(type, self.drive(type, where), cap)
            case Chain(_, other, inner) | ReverseChain(other, _, inner):
                # Few matches may follow from many candidates: then counting would not stop early.
                if self.size(other, self.drive(other, inner), FEW) >= FEW:
                    return cap
        return self._counted(type, Drive(where, ()), cap)

    def _counted(self, type: str, drive: Drive, cap: int) -> int:
        statement = Statement(self)
        name = statement.named(statement.driver_rows(type, drive))
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
    """What is counted first: what tends to have the fewest rows."""
    match part:
        case Ids():
            return 0
        case Pairs() | Reference() | KeyIs():
            return 1
        case Codes() | Date() | Prefixes():
            return 2
    return 3
