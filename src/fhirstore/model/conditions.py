"""The condition algebra: predicates over resources of one type, independent of any engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIN_TIME = -(2**62)
MAX_TIME = 2**62


class Condition:
    """A predicate over resources of one type. Leaves look at one index entry at a time."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class And(Condition):
    """Every part holds; And(()) is always true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or(Condition):
    """Some part holds; Or(()) is never true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part does not hold (a resource without the parameter satisfies Not of a leaf)."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Ids(Condition):
    """The logical id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LastUpdated(Condition):
    """meta.lastUpdated, in microseconds: ge <= t < lt; None = open."""

    ge: int | None = None
    lt: int | None = None


@dataclass(frozen=True, slots=True)
class Present(Condition):
    """The parameter has at least one entry (`:missing=false`)."""

    param: str


@dataclass(frozen=True, slots=True)
class Token(Condition):
    """Some entry has this code and this system; None = any, "" = explicitly none."""

    param: str
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class String(Condition):
    """A string entry. how: "prefix" and "contains" compare `value` with normal, "exact" with exact."""

    param: str
    how: Literal["prefix", "contains", "exact"]
    value: str


@dataclass(frozen=True, slots=True)
class Date(Condition):
    """Some entry [low, high) satisfies all given bounds at once; None = no bound.

    low_ge: low >= x · low_lt: low < x · high_le: high <= x · high_gt: high > x (microseconds)
    """

    param: str
    low_ge: int | None = None
    low_lt: int | None = None
    high_le: int | None = None
    high_gt: int | None = None


@dataclass(frozen=True, slots=True)
class Number(Condition):
    """Some number or quantity entry whose key lies within the bounds, and, for quantities, whose unit fits.

    ge/gt/le/lt: keys as made by `search.values.number_key`; None = open.
    system: None = any. code: None = any; given without system it equals the entry's code or its unit.
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
    """A uri entry. how: "exact", "below" (entry starts with value), "above" (value starts with entry)."""

    param: str
    value: str
    how: Literal["exact", "below", "above"] = "exact"


@dataclass(frozen=True, slots=True)
class Chain(Condition):
    """Chaining: some entry of reference parameter `param` names a live resource of `type` for which `where` holds."""

    param: str
    type: str
    where: Condition


@dataclass(frozen=True, slots=True)
class ReverseChain(Condition):
    """`_has`: some live resource of `type` for which `where` holds names this one in its reference parameter."""

    type: str
    param: str
    where: Condition


MATCH_ALL = And(())
MATCH_NONE = Or(())


@dataclass(frozen=True, slots=True)
class Sort:
    """Order by a parameter's least (ascending) or greatest (descending) sort key; resources without it come last
    in both directions; ties and the end of every order: id ascending. param may be "_id" or "_lastUpdated"."""

    param: str
    descending: bool = False
