"""Conditions in the normal form of this engine, and their SQL over the columns k and x of `ix`.

The normal form is flat, and alternatives on one parameter are merged. The meaning is the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    And,
    Chain,
    Condition,
    Date,
    Ids,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.messages import Message
from fhirstore.store.errors import TooComplex
from fhirstore.store.sqlite.layout import INSTANT, WIDTHS, SqliteLayout, packed
from fhirstore.store.text import successor

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
    """Returns an equivalent condition. Raises TooComplex for a condition that is nested too deeply, ValueError for a
    parameter that the schema does not declare."""
    if depth > _DEEPEST:
        raise TooComplex(Message("the search is nested more than {deepest} levels deep", deepest=_DEEPEST))
    _check_declared(layout, type, where)
    match where:
        case And(parts):
            return _all(layout, type, [simplified(layout, type, part, depth + 1) for part in parts])
        case Or(parts):
            if (pairs := _pairs(parts)) is not None:
                _check_declared(layout, type, pairs)
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


def _check_declared(layout: SqliteLayout, type: str, where: Condition) -> None:
    param: str | None = getattr(where, "param", None)
    searched = where.type if isinstance(where, ReverseChain) else type
    if param is not None and param not in layout.params.get(searched, ()):
        layout.param(searched, param)  # raises ValueError


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
            if isinstance(one, Date) and layout.params[type][one.param].single:
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


Sql = tuple[str, list[Any]]  # text, its arguments in order
Leaf = Codes | Pairs | Uris | Prefixes | Reference | Token | Present | String | Date | Number | Uri
LEAVES = (Codes, Pairs, Uris, Prefixes, Reference, Token, Present, String, Date, Number, Uri)


def values_query(values: Sequence[str]) -> Sql:
    """Returns a query for the values, with one argument."""
    found = json.dumps(values)
    if "\\u0000" in found:  # SQLite's JSON functions end a text at a null character
        return f"VALUES {','.join(['(?)'] * len(values))}", list(values)
    return "SELECT value FROM json_each(?)", [found]


def pairs_query(pairs: Sequence[tuple[str, str]]) -> Sql:
    """Returns a query for the pairs."""
    found = json.dumps(pairs)
    if "\\u0000" in found:
        return f"VALUES {','.join(['(?,?)'] * len(pairs))}", [member for pair in pairs for member in pair]
    return "SELECT json_extract(value,'$[0]'), json_extract(value,'$[1]') FROM json_each(?)", [found]


def equal(column: str, values: Sequence[str]) -> Sql:
    """Returns the test that the column is one of the values."""
    if len(values) == 1:
        return f"{column}=?", [values[0]]
    query, args = values_query(values)
    return f"{column} IN ({query})", args


def entry_test(leaf: Leaf) -> Sql:
    """Returns the test of an entry, a row of ix. It starts with " AND " unless it is empty."""
    match leaf:
        case Present():
            return "", []
        case Codes(_, values) | Uris(_, values) | Reference(_, values):
            test, args = equal("k", values)
            return f" AND {test}", args
        case Pairs(_, pairs):
            if len({system for _, system in pairs}) == 1:
                test, args = equal("k", [code for code, _ in pairs])
                return f" AND {test} AND x=?", [*args, pairs[0][1]]
            query, args = pairs_query(pairs)
            return f" AND (k,x) IN ({query})", args
        case Token(_, system, _):  # a code is in Codes or Pairs
            return ("", []) if system is None else (" AND x=?", [system])
        case Prefixes(_, prefixes):
            return _prefixes(prefixes)
        case String(_, "exact", value):
            return " AND x=?", [value]
        case String(_, _, value):
            return " AND instr(k,?)>0", [value]
        case Uri(_, value, "below"):
            return _prefixes((value,))
        case Uri(_, value, _):
            test, args = equal("k", [value[:length] for length in range(len(value) + 1)])
            return f" AND {test}", args
        case Date():
            return _date(leaf)
        case Number():
            return _number(leaf)


def index_ranges(leaf: Leaf) -> list[tuple[int, Sql]]:
    """Returns the parts of the index that contain all entries that satisfy the leaf: (offset to p, test)."""
    if isinstance(leaf, Prefixes) and len(leaf.prefixes) > 1:
        return [(0, _prefixes((prefix,))) for prefix in leaf.prefixes]
    if isinstance(leaf, Date) and leaf.high_gt is not None and leaf.low_ge is None:
        return _around(leaf, leaf.high_gt)
    return [(0, entry_test(leaf))]


def is_distinct(leaf: Leaf, single: bool) -> bool:
    """Whether no resource has two entries in the ranges of the leaf. single: the parameter has at most one entry."""
    if len(index_ranges(leaf)) > 1:
        return False
    match leaf:
        case Uris(_, values) | Reference(_, values):
            return single or len(values) == 1
        case Pairs(_, pairs):
            return single or len(pairs) == 1
    return single


def _around(leaf: Date, after: int) -> list[tuple[int, Sql]]:
    """Dates that end after an instant: dates that begin about then or later, and longer ones around it, by width."""
    begins = Date(leaf.param, after - INSTANT, leaf.low_lt, leaf.high_le, after)
    found = [(0, entry_test(begins))]
    for offset, width in enumerate(WIDTHS, 1):  # rows with k = high, x = low, see layout.py
        test, args = " AND k>? AND x<?", [after, after if leaf.low_lt is None else min(after, leaf.low_lt)]
        latest = [limit for limit in (leaf.high_le, None if width is None else after + width) if limit is not None]
        if latest:
            test, args = test + " AND k<=?", [*args, min(latest)]
        found.append((offset, (test, args)))
    return found


def _date(leaf: Date) -> Sql:
    test, args = "", []
    # The index is ordered by the beginning. An entry begins before it ends, so a bound of the end applies to it, too.
    for column, operator, bound in (
        ("k", ">=", leaf.low_ge),
        ("k", "<", leaf.low_lt),
        ("k", "<=", leaf.high_le),
        ("x", "<=", leaf.high_le),
        ("x", ">", leaf.high_gt),
    ):
        if bound is not None:
            test += f" AND {column}{operator}?"
            args.append(bound)
    return test, args


def _number(leaf: Number) -> Sql:
    test, args = "", list[Any]()
    for operator, bound in ((">=", leaf.ge), (">", leaf.gt), ("<=", leaf.le), ("<", leaf.lt)):
        if bound is not None:
            test += f" AND k{operator}?"
            args.append(bound)
    if leaf.system is not None:
        start = packed(leaf.system, "") if leaf.code is None else packed(leaf.system, leaf.code, "")
        test += " AND substr(x,1,?)=?"
        args += [len(start), start]
    elif leaf.code is not None:
        code = f"|{packed(leaf.code)}"
        test += " AND (instr(x,?)>0 OR substr(x,?)=?)"
        args += [code + "|", -len(code), code]
    return test, args


def _prefixes(prefixes: Sequence[str]) -> Sql:
    tests, args = [], list[Any]()
    for prefix in prefixes:
        end = successor(prefix)
        tests.append("k>=?" if end is None else "k>=? AND k<?")
        args += [prefix] if end is None else [prefix, end]
    return " AND " + any_of(tests), args


def any_of(tests: Sequence[str]) -> str:
    """Joins the tests by OR, in groups: SQLite allows expressions 1000 levels deep, and each OR is a level."""
    if len(tests) == 1:
        return tests[0]
    while len(tests) > 1:
        tests = [f"({' OR '.join(tests[i : i + 200])})" for i in range(0, len(tests), 200)]
    return tests[0]


def rank(part: Condition) -> int:
    """The order of counting: parts that tend to have few rows come first."""
    match part:
        case Ids():
            return 0
        case Pairs() | Reference() | KeyIs():
            return 1
        case Codes() | Date() | Prefixes():
            return 2
    return 3
