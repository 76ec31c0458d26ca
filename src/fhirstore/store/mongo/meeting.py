"""Where commits with guards meet, so that none is deceived by what another is about to store (write skew).

A transaction sees one state of the database, but not what others write meanwhile. Two conditional creates could each
find nothing and each store what the other looked for. So a commit with guards changes documents in `keys`, its
places: two that share one meet there, and one of them is tried again and looks anew.

- A guard that demands an entry of an identifying parameter (`ParamSpec.identifying`, FHIR's identifier) and has no
  join has the place of that entry.
- A commit with guards has the places of all identifying entries of the resources that it changes, before and after.
  So whatever it does to another's guard of that sort, they meet.
- Any other guard has the places of the types it looks at, and then the commit has those of the types it changes.

Commits without guards have no places: they look at nothing but the versions that they replace. See docs/adr/0005.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from pymongo import UpdateOne

from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Not,
    Or,
    ReverseChain,
    Token,
)
from fhirstore.model.stored import Change, Guard, RecordGuard
from fhirstore.store.mongo.connection import View
from fhirstore.store.mongo.joins import has_joins
from fhirstore.store.mongo.layout import KEYS, Document, Layout, field, token_code

DIGITS = 4  # hexadecimal: so many places for entries; two entries with one place meet without need, seldom


def meet(view: View, places: Iterable[str]) -> None:
    """Changes the documents of the places, in the transaction of the view."""
    writes = [UpdateOne({"_id": place}, {"$inc": {"n": 1}}, upsert=True) for place in sorted(set(places))]
    if writes:
        view.db[KEYS].bulk_write(writes, ordered=False, session=view.session)


def places(
    layout: Layout, guards: Sequence[Guard | RecordGuard], changes: Sequence[Change], before: Iterable[str]
) -> Iterator[str]:
    """The places of a commit. before: those of the resources that it replaces (`places_of`). Guards on records need
    none: such a commit writes the record itself."""
    if not guards:
        return
    wide: set[str] = set()
    for guard in guards:
        if isinstance(guard, RecordGuard):
            continue
        entries = None if has_joins(guard.where) else _demanded(layout, guard.type, guard.where)
        if entries is None:
            wide |= {guard.type, *_joined(guard.where)}
        else:
            yield from entries
    if wide:
        yield from (f"type {type}" for type in wide | {change.type for change in changes})
    for change in changes:
        for param in layout.identifying(change.type):
            for _, code in (change.index or {}).get(param, ()):
                yield _place(change.type, param, token_code(code))
    yield from before


def fields(layout: Layout, type: str) -> Document:
    """What a document must be read with for `places_of`."""
    return {f"ix.{field(param)}": 1 for param in layout.identifying(type)}


def places_of(layout: Layout, type: str, doc: Document) -> Iterator[str]:
    """The places of the identifying entries of a document. Of the forms of a token the code alone has no bar."""
    for param in layout.identifying(type):
        for form in doc.get("ix", {}).get(field(param), ()):
            if "|" not in form:
                yield _place(type, param, form)


def _place(type: str, param: str, code: str) -> str:
    return "entry " + hashlib.sha256(f"{type} {param} {code}".encode()).hexdigest()[:DIGITS]


def _demanded(layout: Layout, type: str, where: Condition) -> set[str] | None:
    """Places of which each resource that fulfils the condition has one; None = the condition demands no such entry."""
    match where:
        case Token(param, _, str(code)) if param in layout.identifying(type):
            return {_place(type, param, token_code(code))}
        case And(parts):
            return next((found for part in parts if (found := _demanded(layout, type, part)) is not None), None)
        case Or(parts) if parts:
            each = [_demanded(layout, type, part) for part in parts]
            sure = [found for found in each if found is not None]
            return set().union(*sure) if len(sure) == len(each) else None
    return None


def _joined(where: Condition) -> Iterator[str]:
    """The types that a condition looks at through joins."""
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _joined(part)
        case Not(part):
            yield from _joined(part)
        case Chain(_, type, inner) | ReverseChain(type, _, inner):
            yield type
            yield from _joined(inner)
