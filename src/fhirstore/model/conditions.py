"""Conditions: predicates over resources of one type, independent of any engine.

`model.indexing` describes the index entries that they compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIN_TIME = -(2**62)
MAX_TIME = 2**62


class Condition:
    """A predicate over resources of one type. A leaf holds if one index entry satisfies all of its bounds."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class And(Condition):
    """All parts hold. And(()) always holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or(Condition):
    """Some part holds. Or(()) never holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part does not hold. A resource without the parameter satisfies Not of a leaf."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Ids(Condition):
    """The logical id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastUpdated(Condition):
    """ge <= meta.lastUpdated < lt, in microseconds. None means no bound."""

    ge: int | None = None
    lt: int | None = None


@dataclass(frozen=True, slots=True)
class Present(Condition):
    """The parameter has at least one entry (`:missing=false`)."""

    param: str


@dataclass(frozen=True, slots=True)
class Token(Condition):
    """Some entry has this system and this code. None matches any, "" matches entries without one."""

    param: str
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class String(Condition):
    """Some string entry matches. how: "prefix" and "contains" compare `value` with `normal`, "exact" with `exact`."""

    param: str
    how: Literal["prefix", "contains", "exact"]
    value: str


@dataclass(frozen=True, slots=True)
class Date(Condition):
    """One entry [low, high) satisfies all bounds. None means no bound.

    low_ge: low >= x · low_lt: low < x · high_le: high <= x · high_gt: high > x (microseconds)
    """

    param: str
    low_ge: int | None = None
    low_lt: int | None = None
    high_le: int | None = None
    high_gt: int | None = None


@dataclass(frozen=True, slots=True)
class Number(Condition):
    """Some number or quantity entry has a key within the bounds and, for quantities, a matching unit.

    ge, gt, le, lt: keys of `search.numbers.number_key`, None for no bound. system, code: None matches any. A code
    without a system matches the code or the unit of the entry.
    """

    param: str
    ge: str | None = None
    gt: str | None = None
    le: str | None = None
    lt: str | None = None
    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Reference(Condition):
    """Some reference entry equals one of the targets ("Type/id" or an absolute URL)."""

    param: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uri(Condition):
    """Some uri entry matches. how: "exact", "below" (entry starts with value), "above" (value starts with entry)."""

    param: str
    value: str
    how: Literal["exact", "below", "above"] = "exact"


@dataclass(frozen=True, slots=True)
class Chain(Condition):
    """Chaining: some entry of the reference parameter `param` is a live resource of `type` that satisfies `where`."""

    param: str
    type: str
    where: Condition


@dataclass(frozen=True, slots=True)
class ReverseChain(Condition):
    """`_has`: some live resource of `type` that satisfies `where` references this one in its parameter `param`."""

    type: str
    param: str
    where: Condition


MATCH_ALL = And(())
MATCH_NONE = Or(())


@dataclass(frozen=True, slots=True)
class Sort:
    """Order by the least (ascending) or the greatest (descending) sort key of a parameter, or by "_id" or
    "_lastUpdated". Resources without the parameter come last in both directions. Ties are ordered by ascending id."""

    param: str
    descending: bool = False
