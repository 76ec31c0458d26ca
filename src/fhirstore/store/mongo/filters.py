"""Conditions without joins as MongoDB filters.

Every leaf is one test of one list in `ix`. Two bounds of one entry need `$elemMatch`: a plain range on a list also
holds if one entry is above the lower bound and another one below the upper bound. For single-valued parameters the sort
key is tested too, so that sort indexes and compound indexes can be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fhirstore.model.conditions import (
    MIN_TIME,
    And,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Number,
    Or,
    Present,
    Reference,
    String,
    Token,
    Uri,
)
from fhirstore.model.messages import Message
from fhirstore.store.errors import TooComplex
from fhirstore.store.mongo.layout import Document, MongoLayout, field, token_code, token_forms, token_system
from fhirstore.store.text import successor

DEEPEST = 40  # levels of a condition; each takes two or three of the 100 levels of a document
LONGEST_ABOVE = 2000  # characters of a uri; all its prefixes are sent, some MB of the 16 MB of a filter
LONGEST_CONTAINED = 4000  # characters, each up to four bytes and escaped
NEVER: Document = {"_id": {"$in": []}}


def make_filter(layout: MongoLayout, type: str, where: Condition, depth: int = 0) -> Document:
    """Returns the filter for a condition without joins; {} matches everything. Raises TooComplex."""
    if depth > DEEPEST:
        raise TooComplex(Message("the search is nested more than {deepest} levels deep", deepest=DEEPEST))
    match where:
        case And(parts):
            return all_of(make_filter(layout, type, part, depth + 1) for part in parts)
        case Or(parts):
            return any_of([make_filter(layout, type, part, depth + 1) for part in parts])
        case Not(Present(param)):
            layout.param(type, param)
            return {"miss": param}
        case Not(part):
            inner = make_filter(layout, type, part, depth + 1)
            return {"$nor": [inner]} if inner else NEVER
        case Ids(ids):
            return {"_id": _one_of(ids)}
        case LastUpdated(ge, lt):
            bounds = _bounds(("$gte", ge), ("$lt", lt))
            return {"u": bounds} if bounds else {}
    return _leaf(layout, type, where)


def all_of(filters: Iterable[Document]) -> Document:
    found: list[Document] = []
    seen: set[str] = set()
    for one in filters:
        if one == NEVER:
            return NEVER
        if one and (text := repr(one)) not in seen:
            seen.add(text)
            found += one["$and"] if list(one) == ["$and"] else [one]
    if len(found) < 2:
        return found[0] if found else {}
    return {"$and": found}


def any_of(filters: Sequence[Document]) -> Document:
    """Merges equalities of the same fields into one list of values. If there are two fields, the test of the second
    follows from the first (see `_leaf`)."""
    if any(not one for one in filters):
        return {}
    lists: dict[tuple[str, ...], list[dict[str, None]]] = {}
    others: list[Document] = []
    for one in filters:
        values = [_equalities(name, test) for name, test in one.items()]
        if None in values:
            others += one["$or"] if list(one) == ["$or"] else [one]
            continue
        known = lists.setdefault(tuple(one), [{} for _ in values])
        for seen, more in zip(known, values, strict=True):
            seen.update(dict.fromkeys(more or ()))
    found = [
        {name: _one_of(tuple(tests)) for name, tests in zip(names, values, strict=True)}
        for names, values in lists.items()
        if values[0]
    ] + others
    if len(found) < 2:
        return found[0] if found else NEVER
    return {"$or": found}


def _equalities(name: str, test: Any) -> Sequence[str] | None:
    """Returns the alternatives of an equality test, None for other tests."""
    if name.startswith("$") or name == "miss":
        return None
    if isinstance(test, str):
        return (test,)
    if isinstance(test, dict) and list(test) == ["$in"]:
        found: Sequence[str] = test["$in"]
        return found
    return None


def _one_of(values: Sequence[str]) -> Any:
    return values[0] if len(values) == 1 else {"$in": list(values)}


def _bounds(*tests: tuple[str, Any]) -> Document:
    return {operator: bound for operator, bound in tests if bound is not None}


def _leaf(layout: MongoLayout, type: str, leaf: Condition) -> Document:
    code: str = leaf.param  # type: ignore[attr-defined]
    param, name = layout.param(type, code), field(code)
    path, key = f"ix.{name}", f"lo.{name}"
    # A bound instead of $exists, which would scan the whole index.
    member, least = {"date": (".l", MIN_TIME), "quantity": (".k", "")}.get(param.kind, ("", ""))
    present: Document = {path + member: {"$gte": least}}
    match leaf:
        case Present() | Token(_, None, None):
            return present
        case Token(_, system, None) if system is not None:
            return {path: token_system(system)}
        case Token(_, None, str(token)):
            found: Document = {path: token_code(token)}
            return found | {key: token} if param.single else found
        case Token(_, str(system), str(token)):
            found = {path: token_forms(system, token)[1]}
            return found | {key: token} if param.single else found
        case String(_, "exact", value):
            return {path: f"e{value}"}
        case String(_, "prefix", value):
            return {path: {"$elemMatch": _prefix(f"n{value}")}}
        case String(_, _, value):
            return {path: {"$regex": rf"^n[\s\S]*{_literal(value)}"}}
        case Date():
            return _date(leaf, path, key if param.single else None) or present
        case Number():
            if param.kind == "number" and (leaf.system is not None or leaf.code is not None):
                return NEVER
            return _number(leaf, path, param.kind == "quantity") or present
        case Reference(_, targets):
            test = _one_of(targets)
            return {path: test, key: test} if param.single else {path: test}
        case Uri(_, value, "exact"):
            return {path: value}
        case Uri(_, value, "below"):
            return {path: {"$elemMatch": _prefix(value)}}
        case Uri(_, value, _):
            return {path: {"$in": _prefixes(value)}}
    raise ValueError(f"{leaf!r} is not a condition")


def _date(leaf: Date, path: str, key: str | None) -> Document:
    # The index is ordered by the beginning. An entry begins before it ends, so a bound of the end applies to it, too.
    latest = [bound for bound in (leaf.low_lt, None if leaf.high_le is None else leaf.high_le + 1) if bound is not None]
    low = _bounds(("$gte", leaf.low_ge), ("$lt", min(latest) if latest else None))
    high = _bounds(("$gt", leaf.high_gt), ("$lte", leaf.high_le))
    entry = {name: test for name, test in (("l", low), ("h", high)) if test}
    if not entry:
        return {}
    found: Document = {path: {"$elemMatch": entry}}
    return found | {key: low} if key is not None and low else found


def _number(leaf: Number, path: str, quantity: bool) -> Document:
    key = _bounds(("$gte", leaf.ge), ("$gt", leaf.gt), ("$lte", leaf.le), ("$lt", leaf.lt))
    if not quantity:
        return {path: {"$elemMatch": key}} if key else {}
    entry: Document = {"k": key} if key else {}
    if leaf.system is not None:
        entry["s"] = leaf.system
        if leaf.code is not None:
            entry["c"] = leaf.code
    elif leaf.code is not None:
        return {"$or": [{path: {"$elemMatch": entry | {unit: leaf.code}}} for unit in ("c", "u")]}
    return {path: {"$elemMatch": entry}} if entry else {}


def _prefix(text: str) -> Document:
    return _bounds(("$gte", text), ("$lt", successor(text)))


def _prefixes(text: str) -> list[str]:
    _short(text, LONGEST_ABOVE)
    return [text[:length] for length in range(len(text) + 1)]


def _literal(text: str) -> str:
    """Escapes the text for a regular expression, which has no null characters and at most 32 kB in MongoDB."""
    _short(text, LONGEST_CONTAINED)
    return re.escape(text).replace("\0", r"\x00")


def _short(text: str, longest: int) -> None:
    if len(text) > longest:
        raise TooComplex(
            Message(
                "a value has {count} characters; this modifier allows at most {limit}", count=len(text), limit=longest
            )
        )
