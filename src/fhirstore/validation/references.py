"""https://hl7.org/fhir/R4/references.html: how a Reference is written, and the types it may point to."""

from __future__ import annotations

import re
from typing import Any

from fhirstore.validation.findings import Check, Container, Findings, describe, listed, near, refuse

_ID = r"[A-Za-z0-9\-.]{1,64}"
_RELATIVE = re.compile(rf"([A-Z][A-Za-z]+)/{_ID}(?:/_history/{_ID})?")
_RESTFUL = re.compile(rf"https?://\S+/([A-Z][A-Za-z]+)/{_ID}(?:/_history/{_ID})?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s\x00-\x1f]+")
_UUID = re.compile(r"urn:uuid:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?\S+")
_CORE = "http://hl7.org/fhir/StructureDefinition/"
_ABSTRACT = frozenset({"Resource", "DomainResource"})
_WANTED = "wanted: Type/id, an absolute URL, urn:uuid:…, urn:oid:… or #id of a contained resource"


def reference_check(plain: Check, resource_types: frozenset[str], targets: tuple[str, ...]) -> Check:
    """The check of a Reference whose JSON object passes `plain`. targets: allowed resource types, empty = any."""
    allowed = frozenset(targets) or resource_types

    def check(value: Any, container: Container) -> Findings | None:
        found = plain(value, container)
        if type(value) is not dict:
            return found
        text = value.get("reference")
        if type(text) is str and text:
            match = _RELATIVE.fullmatch(text)
            if match is None or match[1] not in allowed:
                found = _joined(found, _unusual(text, container))
        if type(value.get("type")) is str:
            found = _joined(found, _type(value["type"], text))
        return found

    def _unusual(text: str, container: Container) -> Findings | None:
        target = _target(text, container)
        if isinstance(target, Findings):
            return target
        if not target or target in allowed:
            return None
        return refuse("value", f"{describe(text)} points to {target}; allowed: {listed(allowed)}", ".reference")

    def _target(text: str, container: Container) -> str | Findings | None:
        """The resource type that the reference names, None or "" where it cannot be told, or what is wrong with it."""
        if text.startswith("#"):
            target = container.type_of(text[1:])
            if target is None:
                wrong = f"{describe(text)} points to a contained resource that is not there"
                return refuse("not-found", f"{wrong}; no resource in contained has this id", ".reference")
            return target
        if match := _RELATIVE.fullmatch(text) or (_CONDITIONAL.fullmatch(text) if container.in_transaction else None):
            if match[1] in resource_types:
                return match[1]
            wrong = f"{match[1]} in {describe(text)} is not a resource type{near(match[1], resource_types)}"
            return refuse("value", wrong, ".reference")
        if match := _RESTFUL.fullmatch(text):
            return match[1] if match[1] in resource_types else None
        well_formed = (
            _UUID.fullmatch(text) if text.startswith("urn:uuid:")
            else _OID.fullmatch(text) if text.startswith("urn:oid:")
            else _ABSOLUTE.fullmatch(text)
        )  # fmt: skip
        return None if well_formed else refuse("value", f"{describe(text)} is not a reference; {_WANTED}", ".reference")

    def _type(declared: str, text: Any) -> Findings | None:
        name = declared.removeprefix(_CORE)
        if name in allowed:
            named = _RELATIVE.fullmatch(text) if type(text) is str else None
            if named is None or named[1] == name or named[1] not in allowed:
                return None
            return refuse("value", f"the type {name} contradicts the reference {describe(text)}", ".type")
        if name in resource_types:
            return refuse("value", f"the type {name} is not allowed here; allowed: {listed(allowed)}", ".type")
        if ":" in name or name in _ABSTRACT or not name:
            return None  # a type of another model
        return refuse("value", f"{describe(name)} is not a resource type{near(name, resource_types)}", ".type")

    return check


def _joined(one: Findings | None, other: Findings | None) -> Findings | None:
    if one is None or other is None:
        return one or other
    one.absorb(other, "")
    return one
