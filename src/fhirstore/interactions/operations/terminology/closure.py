"""https://hl7.org/fhir/R4/conceptmap-operation-closure.html"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from fhirstore.errors import error
from fhirstore.formats.compose import instant
from fhirstore.interactions.context import Server
from fhirstore.interactions.operations.terminology.given import told
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.plugins.hookspecs import OperationRequest
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store
from fhirstore.terminology.closure import Table, check_concepts, entries
from fhirstore.terminology.model import Coded

KIND = "fhirstore.closure"
_TRIES = 100
_tables = msgspec.json.Decoder(Table)


@told(422)
def closure(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """A ConceptMap with the relations that are new to the client's table.

    With a name alone the table is made, empty; with concepts they are added; with a version what came after it is
    said again. Raises 404 for a table that was never made."""
    name = str(call.one("name"))
    given = call.many("concept")
    asked = [Coded(c.get("system"), c["code"], c.get("version")) for c in given if "code" in c]
    if len(asked) < len(given):
        raise error(400, "required", "A concept has no code.", "Parameters")
    since = call.one("version")
    if since is not None and asked:
        text = "Either concepts are added or a version is synchronised with, not both at once."
        raise error(400, "invalid", text, "Parameters")
    view = ctx.terminology.current()
    if since is not None:
        table = _known(ctx.store, name)
        return _answer(name, table, entries(view, table, _version(since, table)))
    if not asked:
        ctx.store.commit([], records=[Record(KIND, _key(name), msgspec.json.encode(Table()))])
        return _answer(name, Table(), [])
    check_concepts(view, asked)
    for _ in range(_TRIES):
        before = _stored(ctx.store, name)
        table = _decoded(name, before)
        after = table.with_concepts(asked)
        if after is table or _put(ctx.store, name, before, after):
            return _answer(name, after, entries(view, after, table.version))
    raise error(409, "conflict", f"Other clients kept changing the closure table {name[:100]!r}.")


def _known(store: Store, name: str) -> Table:
    return _decoded(name, _stored(store, name))


def _decoded(name: str, value: bytes | None) -> Table:
    if value is None:
        text = f"There is no closure table {name[:100]!r}; it is made by $closure with its name alone."
        raise error(404, "not-found", text, "Parameters")
    return _tables.decode(value)


def _stored(store: Store, name: str) -> bytes | None:
    found = store.get_record(KIND, _key(name))
    return found.value if found else None


def _key(name: str) -> str:
    """The record key of the table. A hash has the same length for every name."""
    return hashlib.sha256(name.encode()).hexdigest()


def _put(store: Store, name: str, before: bytes | None, after: Table) -> bool:
    """Whether the table could be replaced: nobody else did meanwhile."""
    key = _key(name)
    try:
        store.commit([], [RecordGuard(KIND, key, before)], [Record(KIND, key, msgspec.json.encode(after))])
    except GuardChanged:
        return False
    return True


def _version(text: str, table: Table) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= table.version:
        return int(text)
    raise error(400, "value", f"version {text[:40]!r} was never sent; the table is at {table.version}.", "Parameters")


def _answer(name: str, table: Table, groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "ConceptMap",
        "version": str(table.version),
        "name": name,
        "status": "active",
        "experimental": True,
        "date": instant(time.time_ns() // 1_000_000 * 1000),
        **({"group": groups} if groups else {}),
    }
