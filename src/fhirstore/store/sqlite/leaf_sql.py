"""A condition on one index entry as SQL over the columns k and x of `ix`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fhirstore.model.conditions import (
    Date,
    Number,
    Present,
    Reference,
    String,
    Token,
    Uri,
)
from fhirstore.store.sqlite.layout import INSTANT, WIDTHS, packed
from fhirstore.store.sqlite.simplify import Codes, Pairs, Prefixes, Uris
from fhirstore.store.text import successor

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


def entry_test(leaf: Leaf, a: str) -> Sql:
    """Returns the test of the entry `a` (an alias of ix). It starts with " AND " unless it is empty."""
    match leaf:
        case Present():
            return "", []
        case Codes(_, values) | Uris(_, values) | Reference(_, values):
            test, args = equal(f"{a}.k", values)
            return f" AND {test}", args
        case Pairs(_, pairs):
            if len({system for _, system in pairs}) == 1:
                test, args = equal(f"{a}.k", [code for code, _ in pairs])
                return f" AND {test} AND {a}.x=?", [*args, pairs[0][1]]
            query, args = pairs_query(pairs)
            return f" AND ({a}.k,{a}.x) IN ({query})", args
        case Token(_, system, _):  # a code is in Codes or Pairs
            return ("", []) if system is None else (f" AND {a}.x=?", [system])
        case Prefixes(_, prefixes):
            return _prefixes(prefixes, a)
        case String(_, "exact", value):
            return f" AND {a}.x=?", [value]
        case String(_, _, value):
            return f" AND instr({a}.k,?)>0", [value]
        case Uri(_, value, "below"):
            return _prefixes((value,), a)
        case Uri(_, value, _):
            # A text that begins with k is not less than k, and every text begins with "".
            return f" AND {a}.k<=? AND instr(?,{a}.k)=1", [value, value]
        case Date():
            return _date(leaf, a)
        case Number():
            return _number(leaf, a)


def index_ranges(leaf: Leaf, a: str) -> list[tuple[int, Sql]]:
    """Returns the parts of the index that contain all entries that satisfy the leaf: (offset to p, test)."""
    if isinstance(leaf, Prefixes) and len(leaf.prefixes) > 1:
        return [(0, _prefixes((prefix,), a)) for prefix in leaf.prefixes]
    if isinstance(leaf, Date) and leaf.high_gt is not None and leaf.low_ge is None:
        return _around(leaf, leaf.high_gt, a)
    return [(0, entry_test(leaf, a))]


def is_distinct(leaf: Leaf, single: bool) -> bool:
    """Whether no resource has two entries in the ranges of the leaf. single: the parameter has at most one entry."""
    if len(index_ranges(leaf, "i")) > 1:
        return False
    match leaf:
        case Uris(_, values) | Reference(_, values):
            return single or len(values) == 1
        case Pairs(_, pairs):
            return single or len(pairs) == 1
    return single


def _around(leaf: Date, after: int, a: str) -> list[tuple[int, Sql]]:
    """Dates that end after an instant: dates that begin about then or later, and longer ones around it, by width."""
    begins = Date(leaf.param, after - INSTANT, leaf.low_lt, leaf.high_le, after)
    found = [(0, entry_test(begins, a))]
    for offset, width in enumerate(WIDTHS, 1):  # rows with k = high, x = low, see layout.py
        test, args = f" AND {a}.k>? AND {a}.x<?", [after, after if leaf.low_lt is None else min(after, leaf.low_lt)]
        latest = [limit for limit in (leaf.high_le, None if width is None else after + width) if limit is not None]
        if latest:
            test, args = test + f" AND {a}.k<=?", [*args, min(latest)]
        found.append((offset, (test, args)))
    return found


def _date(leaf: Date, a: str) -> Sql:
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
            test += f" AND {a}.{column}{operator}?"
            args.append(bound)
    return test, args


def _number(leaf: Number, a: str) -> Sql:
    test, args = "", list[Any]()
    for operator, bound in ((">=", leaf.ge), (">", leaf.gt), ("<=", leaf.le), ("<", leaf.lt)):
        if bound is not None:
            test += f" AND {a}.k{operator}?"
            args.append(bound)
    if leaf.system is not None:
        start = packed(leaf.system, "") if leaf.code is None else packed(leaf.system, leaf.code, "")
        test += f" AND substr({a}.x,1,?)=?"
        args += [len(start), start]
    elif leaf.code is not None:
        code = f"|{packed(leaf.code)}"
        test += f" AND (instr({a}.x,?)>0 OR substr({a}.x,?)=?)"
        args += [code + "|", -len(code), code]
    return test, args


def _prefixes(prefixes: Sequence[str], a: str) -> Sql:
    tests, args = [], list[Any]()
    for prefix in prefixes:
        end = successor(prefix)
        tests.append(f"{a}.k>=?" if end is None else f"{a}.k>=? AND {a}.k<?")
        args += [prefix] if end is None else [prefix, end]
    return " AND " + any_of(tests), args


def any_of(tests: Sequence[str]) -> str:
    """Joins the tests by OR, in groups: SQLite allows expressions 1000 levels deep, and each OR is a level."""
    if len(tests) == 1:
        return tests[0]
    while len(tests) > 1:
        tests = [f"({' OR '.join(tests[i : i + 200])})" for i in range(0, len(tests), 200)]
    return tests[0]
