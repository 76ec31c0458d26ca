"""Simplifies conditions before compilation: flat, with alternatives on one parameter merged. The meaning is the
same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    And,
    Chain,
    Condition,
    Date,
    Ids,
    Not,
    Or,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.messages import Message
from fhirstore.store.errors import TooComplex
from fhirstore.store.sqlite.layout import SqliteLayout

_DEEPEST = 60


@dataclass(frozen=True, slots=True)
class Codes(Condition):
    """Some token entry has one of these codes, in any system."""

    param: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairs(Condition):
    """Some token entry is one of these (code, system)."""

    param: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Uris(Condition):
    """Some uri entry is one of these."""

    param: str
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prefixes(Condition):
    """The normal form of some string entry starts with one of these."""

    param: str
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyIs(Condition):
    """The sort key of the resource, the least or with `descending` the greatest, equals `key`."""

    param: str
    key: object
    descending: bool


def simplified(layout: SqliteLayout, type: str, where: Condition, depth: int = 0) -> Condition:
    """Returns an equivalent condition. Raises TooComplex for a condition that is nested too deeply."""
    if depth > _DEEPEST:
        raise TooComplex(Message("the search is nested more than {deepest} levels deep", deepest=_DEEPEST))
    match where:
        case And(parts):
            return _all(layout, type, [simplified(layout, type, part, depth + 1) for part in parts])
        case Or(parts):
            if (pairs := _pairs(parts)) is not None:
                return pairs
            return _any(layout, type, [simplified(layout, type, part, depth + 1) for part in parts], depth)
        case Not(part):
            inner = simplified(layout, type, part, depth + 1)
            return inner.part if isinstance(inner, Not) else Not(inner)
        case Chain(param, target, inner):
            return Chain(param, target, simplified(layout, target, inner, depth + 1))
        case ReverseChain(source, param, inner):
            return ReverseChain(source, param, simplified(layout, source, inner, depth + 1))
        case Token(param, system, code) if code is not None:
            return Codes(param, (code,)) if system is None else Pairs(param, ((code, system),))
        case Uri(param, value, "exact"):
            return Uris(param, (value,))
        case String(param, "prefix", value):
            return Prefixes(param, (value,))
        case Reference(param, targets):
            return Reference(param, _distinct(targets)) if targets else MATCH_NONE
        case Ids(ids):
            return Ids(_distinct(ids)) if ids else MATCH_NONE
    return where


def _pairs(parts: Sequence[Condition]) -> Pairs | None:
    """Merges tokens of one parameter with system and code, the most common long list. None for other conditions."""
    pairs: dict[tuple[str, str], None] = {}
    params = set()
    for part in parts:
        if not isinstance(part, Token) or part.system is None or part.code is None:
            return None
        params.add(part.param)
        pairs[part.code, part.system] = None
    return Pairs(params.pop(), tuple(pairs)) if len(params) == 1 else None


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _all(layout: SqliteLayout, type: str, parts: list[Condition]) -> Condition:
    flat: dict[Condition, None] = {}
    dates: dict[str, Date] = {}
    for part in parts:
        for one in part.parts if isinstance(part, And) else (part,):
            if one == MATCH_NONE:
                return MATCH_NONE
            if isinstance(one, Date) and layout.param(type, one.param).single:
                dates[one.param] = _both(dates[one.param], one) if one.param in dates else one
            else:
                flat[one] = None
    found = (*flat, *dates.values())
    return found[0] if len(found) == 1 else And(found)


def _both(a: Date, b: Date) -> Date:
    """Merges the bounds of two conditions. Valid for parameters with at most one entry."""

    def tightest(one: int | None, other: int | None, greatest: bool) -> int | None:
        if one is None or other is None:
            return other if one is None else one
        return max(one, other) if greatest else min(one, other)

    return Date(
        a.param,
        low_ge=tightest(a.low_ge, b.low_ge, True),
        low_lt=tightest(a.low_lt, b.low_lt, False),
        high_le=tightest(a.high_le, b.high_le, False),
        high_gt=tightest(a.high_gt, b.high_gt, True),
    )


def _any(layout: SqliteLayout, type: str, parts: list[Condition], depth: int) -> Condition:
    """Merges alternatives of one kind on one parameter into one alternative with a list."""
    groups: dict[tuple[object, ...], list[Condition]] = {}
    for part in parts:
        for one in part.parts if isinstance(part, Or) else (part,):
            if one == MATCH_ALL:
                return MATCH_ALL
            groups.setdefault(_group(one), []).append(one)
    found = tuple(_joined(layout, group, depth) for group in groups.values())
    return found[0] if len(found) == 1 else Or(found)


def _group(part: Condition) -> tuple[object, ...]:
    match part:
        case Codes(param) | Pairs(param) | Uris(param) | Prefixes(param) | Reference(param):
            return (part.__class__, param)
        case Ids():
            return (Ids,)
        case Chain(param, type, _):
            return (Chain, param, type)
        case ReverseChain(type, param, _):
            return (ReverseChain, type, param)
    return (part,)


def _joined(layout: SqliteLayout, group: list[Condition], depth: int) -> Condition:
    first = group[0]
    if len(group) == 1:
        return first
    match first:
        case Codes(param):
            return Codes(param, _distinct(code for one in group if isinstance(one, Codes) for code in one.codes))
        case Pairs(param):
            pairs = dict.fromkeys(pair for one in group if isinstance(one, Pairs) for pair in one.pairs)
            return Pairs(param, tuple(pairs))
        case Uris(param):
            return Uris(param, _distinct(uri for one in group if isinstance(one, Uris) for uri in one.uris))
        case Prefixes(param):
            texts = _distinct(text for one in group if isinstance(one, Prefixes) for text in one.prefixes)
            return Prefixes(param, texts)
        case Reference(param):
            return Reference(
                param, _distinct(target for one in group if isinstance(one, Reference) for target in one.targets)
            )
        case Ids():
            return Ids(_distinct(id for one in group if isinstance(one, Ids) for id in one.ids))
        case Chain(param, type, _):
            inner = [one.where for one in group if isinstance(one, Chain)]
            return Chain(param, type, _any(layout, type, inner, depth + 1))
        case ReverseChain(type, param, _):
            inner = [one.where for one in group if isinstance(one, ReverseChain)]
            return ReverseChain(type, param, _any(layout, type, inner, depth + 1))
    return first
