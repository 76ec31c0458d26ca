"""Locks of commits with guards, against write skew.

A transaction sees one state of the database, but not the writes of concurrent transactions. Two conditional creates
could both find nothing, and both store the resource that the other looked for. So a commit with guards updates
documents in `keys`, its locks. Two commits with a common lock conflict, and one of them is retried.

- A guard that requires an entry of an identifying parameter (`IndexedParameter.identifying`, FHIR's identifier) and has
  no join takes the lock of that entry.
- A commit with guards takes the locks of all identifying entries of the resources that it changes, before and after.
  So it conflicts with every guard of that kind that its changes affect.
- Any other guard takes the locks of the types that it reads, and its commit those of the types that it changes.

Commits without guards take no locks: they depend only on the versions that they replace. See docs/adr/0005.
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
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.joins import has_joins
from fhirstore.store.mongo.layout import KEYS, Document, MongoLayout, field, token_code

DIGITS = (
    4  # hexadecimal digits of a lock of an entry; entries with the same digits conflict without need, which is rare
)


def take_locks(session: MongoSession, keys: Iterable[str]) -> None:
    """Updates the lock documents in the transaction of the session."""
    writes = [UpdateOne({"_id": key}, {"$inc": {"n": 1}}, upsert=True) for key in sorted(set(keys))]
    if writes:
        session.db[KEYS].bulk_write(writes, ordered=False, session=session.driver_session)


def lock_keys(
    layout: MongoLayout, guards: Sequence[Guard | RecordGuard], changes: Sequence[Change], before: Iterable[str]
) -> Iterator[str]:
    """Yields the lock keys of a commit. before: those of the documents that it replaces (`lock_keys_of_document`).

    Guards on records need no lock, because their commit writes the record itself."""
    if not guards:
        return
    wide: set[str] = set()
    for guard in guards:
        if isinstance(guard, RecordGuard):
            continue
        entries = None if has_joins(guard.where) else _required_keys(layout, guard.type, guard.where)
        if entries is None:
            wide |= {guard.type, *_joined(guard.where)}
        else:
            yield from entries
    if wide:
        yield from (f"type {type}" for type in wide | {change.type for change in changes})
    for change in changes:
        for param in layout.identifying(change.type):
            for _, code in (change.index or {}).get(param, ()):
                yield _entry_key(change.type, param, token_code(code))
    yield from before


def lock_projection(layout: MongoLayout, type: str) -> Document:
    """Returns the projection that `lock_keys_of_document` needs."""
    return {f"ix.{field(param)}": 1 for param in layout.identifying(type)}


def lock_keys_of_document(layout: MongoLayout, type: str, doc: Document) -> Iterator[str]:
    """Yields the lock keys of the identifying entries of a document. The form of a token without a bar is its code."""
    for param in layout.identifying(type):
        for form in doc.get("ix", {}).get(field(param), ()):
            if "|" not in form:
                yield _entry_key(type, param, form)


def _entry_key(type: str, param: str, code: str) -> str:
    return "entry " + hashlib.sha256(f"{type} {param} {code}".encode()).hexdigest()[:DIGITS]


def _required_keys(layout: MongoLayout, type: str, where: Condition) -> set[str] | None:
    """Returns lock keys one of which belongs to each resource that satisfies the condition. None if the condition
    requires no identifying entry."""
    match where:
        case Token(param, _, str(code)) if param in layout.identifying(type):
            return {_entry_key(type, param, token_code(code))}
        case And(parts):
            return next((found for part in parts if (found := _required_keys(layout, type, part)) is not None), None)
        case Or(parts) if parts:
            each = [_required_keys(layout, type, part) for part in parts]
            sure = [found for found in each if found is not None]
            return set().union(*sure) if len(sure) == len(each) else None
    return None


def _joined(where: Condition) -> Iterator[str]:
    """Yields the types that a condition reads through joins."""
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _joined(part)
        case Not(part):
            yield from _joined(part)
        case Chain(_, type, inner) | ReverseChain(type, _, inner):
            yield type
            yield from _joined(inner)
