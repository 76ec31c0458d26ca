"""https://hl7.org/fhir/R4/conceptmap-operation-closure.html"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from fhirstore.errors import error
from fhirstore.formats.json import instant
from fhirstore.interactions.operations.terminology.parameters import unresolved_as_error
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.plugins.model import OperationRequest
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store
from fhirstore.terminology.closure import ClosureTable, check_concepts, closure_groups
from fhirstore.terminology.model import Coding

RECORD_KIND = "fhirstore.closure"
_ATTEMPTS = 100
_tables = msgspec.json.Decoder(ClosureTable)


@unresolved_as_error(422)
def closure(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns a ConceptMap with the new relations of a client's closure table.

    A request with a name alone creates an empty table, one with concepts adds them, and one with a version repeats the
    relations that were added after that version. Raises 404 if the table does not exist."""
    name = str(operation.one("name"))
    concepts = operation.many("concept")
    codings = [Coding(c.get("system"), c["code"], c.get("version")) for c in concepts if "code" in c]
    if len(codings) < len(concepts):
        raise error(400, "required", Message("A concept has no code."), "Parameters")
    since = operation.one("version")
    if since is not None and codings:
        text = Message("The parameters concept and version cannot be combined.")
        raise error(400, "invalid", text, "Parameters")
    snapshot, limit = server.terminology.current(), server.settings.max_closure_ancestors
    if since is not None:
        table = _known(server.store, name)
        return _answer(name, table, closure_groups(snapshot, table, _version(since, table), limit))
    if not codings:
        server.store.commit([], records=[Record(RECORD_KIND, _key(name), msgspec.json.encode(ClosureTable()))])
        return _answer(name, ClosureTable(), [])
    check_concepts(snapshot, codings)
    for _ in range(_ATTEMPTS):
        before = _stored(server.store, name)
        table = _decoded(name, before)
        after = table.with_concepts(codings)
        groups = closure_groups(snapshot, after, table.version, limit)
        if after is table or _put(server.store, name, before, after):
            return _answer(name, after, groups)
    raise error(
        409,
        "conflict",
        Message(
            "The closure table {name} was changed by concurrent requests. Repeat the request.", name=repr(name[:100])
        ),
    )


def _known(store: Store, name: str) -> ClosureTable:
    return _decoded(name, _stored(store, name))


def _decoded(name: str, value: bytes | None) -> ClosureTable:
    if value is None:
        text = Message(
            "The closure table {name} does not exist. To create it, call $closure with name alone.",
            name=repr(name[:100]),
        )
        raise error(404, "not-found", text, "Parameters")
    return _tables.decode(value)


def _stored(store: Store, name: str) -> bytes | None:
    found = store.get_record(RECORD_KIND, _key(name))
    return found.value if found else None


def _key(name: str) -> str:
    """The record key of the table. A hash has the same length for every name."""
    return hashlib.sha256(name.encode()).hexdigest()


def _put(store: Store, name: str, before: bytes | None, after: ClosureTable) -> bool:
    """Replaces the table. Returns False if a concurrent request has changed it."""
    key = _key(name)
    try:
        store.commit(
            [], [RecordGuard(RECORD_KIND, key, before)], [Record(RECORD_KIND, key, msgspec.json.encode(after))]
        )
    except GuardChanged:
        return False
    return True


def _version(text: str, table: ClosureTable) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= table.version:
        return int(text)
    raise error(
        400,
        "value",
        Message(
            "The closure table has no version {text}; its current version is {version}.",
            text=repr(text[:40]),
            version=table.version,
        ),
        "Parameters",
    )


def _answer(name: str, table: ClosureTable, groups: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "ConceptMap",
        "version": str(table.version),
        "name": name,
        "status": "active",
        "experimental": True,
        "date": instant(time.time_ns() // 1_000_000 * 1000),
        **({"group": groups} if groups else {}),
    }
