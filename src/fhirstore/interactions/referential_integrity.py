"""Broken references: of writes to resources that do not exist, and to resources that are deleted.

R4 leaves it to the server whether it accepts them (https://hl7.org/fhir/R4/http.html#integrity); the setting
`referential_integrity` decides. References are those of indexed search parameters, because only they can be found from
their target. References to other servers, and to types that this server does not support, are not checked.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from fhirstore.errors import FhirError
from fhirstore.interactions.server import Server
from fhirstore.model.conditions import Ids, Reference
from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message, series
from fhirstore.model.stored import Change, Guard
from fhirstore.plugins.model import Write

log = logging.getLogger(__name__)

RULE = "referential-integrity"
_READ, _SHOWN = 100, 3
"""Resources that refer to a deleted one: how many are read of each type and parameter, and named in a message."""


class BrokenReferences(msgspec.Struct, frozen=True):
    """issues: by "Type/id" of the changed resource. guards: what must not change before the commit."""

    issues: Mapping[str, tuple[Issue, ...]]
    guards: Sequence[Guard] = ()


def broken_references(
    server: Server,
    changes: Mapping[str, Change],
    missing: Mapping[str, Collection[str]],
    writes: Mapping[str, Write],
) -> BrokenReferences:
    """The references that a commit breaks. They are logged.

    changes: all changes of the commit by "Type/id". missing: of each, its references to resources that will not exist.
    writes: the sources of changes. With the level `enforce`, raises FhirError: 409 if the commit deletes resources that
    others refer to, else 422."""
    is_enforced = server.integrity_level == "enforce"
    severity = "error" if is_enforced else "warning"
    issues: dict[str, tuple[Issue, ...]] = {}
    guards: list[Guard] = []
    for ref, change in changes.items():
        if change.deleted:
            found = tuple(_left_behind(server, severity, ref, changes, guards))
        else:
            found = tuple(_missing(server, severity, ref, missing.get(ref, ()), writes.get(ref)))
        if found:
            issues[ref] = found
    if is_enforced and issues:
        deleted = any(changes[ref].deleted for ref in issues)
        raise FhirError(409 if deleted else 422, tuple(issue for found in issues.values() for issue in found))
    for ref, found in issues.items():
        log.warning("%s", found[0].diagnostics, extra={"resource": ref, "rule": RULE, "issues": len(found)})
    return BrokenReferences(issues, guards if is_enforced else ())


def guards_of(references: Collection[str]) -> list[Guard]:
    """Guards that these resources exist at the time of the commit."""
    parts = (ref.partition("/") for ref in sorted(references))
    return [Guard(type, Ids((id,)), frozenset((id,))) for type, _, id in parts]


def _missing(server: Server, severity: str, ref: str, missing: Collection[str], write: Write | None) -> Iterator[Issue]:
    """An issue for each reference of a change to a missing resource, at its place in the resource."""
    type = ref.partition("/")[0]
    places = dict(_places(write.resource, type, server)) if write is not None and missing else {}
    for target in sorted(missing):
        text = Message(
            "{resource} refers to {target}, which does not exist on this server. Write {target} first, or in the same "
            "transaction.",
            resource=ref,
            target=target,
        )
        yield Issue(severity, "not-found", text, (places.get(target, type),), RULE)


def _places(resource: Any, path: str, server: Server) -> Iterator[tuple[str, str]]:
    """("Type/id", FHIRPath) of the references in a resource."""
    if isinstance(resource, list):
        for n, item in enumerate(resource):
            yield from _places(item, f"{path}[{n}]", server)
    elif isinstance(resource, dict):
        text = resource.get("reference")
        if isinstance(text, str):
            base = f"{server.own_base}/"
            yield "/".join(text.removeprefix(base).split("/")[:2]), path
        for name, item in resource.items():
            yield from _places(item, f"{path}.{name}", server)


def _left_behind(
    server: Server, severity: str, ref: str, changes: Mapping[str, Change], guards: list[Guard]
) -> Iterator[Issue]:
    """An issue if resources that the commit does not change refer to a deleted one."""
    referring: dict[str, str] = {}
    type = ref.partition("/")[0]
    for source, param in _parameters_to(server, type):
        where = Reference(param, (ref,))
        page = server.store.find(source, where, limit=_READ + len(changes))
        guards.append(Guard(source, where, frozenset(one.id for one in page.entries)))
        # The references of a changed resource were checked with its change.
        referring |= {one.ref: param for one in page.entries if one.ref not in changes}
    if referring:
        shown = series([f"{one} ({param})" for one, param in [*referring.items()][:_SHOWN]])
        text = Message.plural(
            "{resource} is deleted, but {count} resource refers to it: {shown}. Change or delete this resource first, "
            "or in the same transaction.",
            "{resource} is deleted, but at least {count} resources refer to it, among them {shown}. Change or delete "
            "these resources first, or in the same transaction.",
            len(referring),
            resource=ref,
            shown=shown,
        )
        yield Issue(severity, "conflict", text, (type,), RULE)


def _parameters_to(server: Server, target: str) -> Iterator[tuple[str, str]]:
    """(type, code) of the indexed parameters whose references can lead to a type."""
    for source, codes in server.reference_params.items():
        params = server.registry.indexed_types[source]
        for code in codes:
            if not params[code].targets or target in params[code].targets:
                yield source, code
