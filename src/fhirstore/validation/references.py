"""https://hl7.org/fhir/R4/references.html: the syntax of references and the resource types of their targets."""

from __future__ import annotations

import re
from typing import Any

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, merged, single_error
from fhirstore.validation.text import describe, listed, near
from fhirstore.validation.value_checks import RELATIVE_REFERENCE, Check, StructureScope, reference_check

_ID = r"[A-Za-z0-9\-.]{1,64}"
_RESTFUL = re.compile(rf"https?://\S+/([A-Z][A-Za-z]+)/{_ID}(?:/_history/{_ID})?")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s\x00-\x1f]+")
_CONDITIONAL = re.compile(r"([A-Z][A-Za-z]+)\?\S+")
_CORE = "http://hl7.org/fhir/StructureDefinition/"
_ABSTRACT = frozenset({"Resource", "DomainResource"})
_EXPECTED = Message("expected: Type/id, an absolute URL, urn:uuid:…, urn:oid:… or #id of a contained resource")


def check_references(plain: Check, resource_types: frozenset[str], targets: tuple[str, ...]) -> Check:
    """The check of a Reference whose JSON object passes `plain`. targets: allowed resource types, empty for any."""
    allowed = frozenset(targets) or resource_types

    def other(value: Any, scope: StructureScope) -> IssueList | None:
        text = value.get("reference")
        found: IssueList | None = None
        if type(text) is str and text:
            match = RELATIVE_REFERENCE.fullmatch(text)
            if match is None or match[1] not in allowed:
                found = _check_other(text, scope, allowed, resource_types)
        if type(value.get("type")) is str:
            found = merged(found, _check_type(value["type"], text, allowed, resource_types))
        return found

    return reference_check(plain, allowed, other)


def _check_other(
    text: str, scope: StructureScope, allowed: frozenset[str], resource_types: frozenset[str]
) -> IssueList | None:
    """Checks a reference that is not a relative one to an allowed type."""
    target = _target(text, scope, resource_types)
    if isinstance(target, IssueList):
        return target
    if not target or target in allowed:
        return None
    return single_error(
        "value",
        Message(
            "{text} refers to {target}; allowed: {allowed}", text=describe(text), target=target, allowed=listed(allowed)
        ),
        ".reference",
    )


def _target(text: str, scope: StructureScope, resource_types: frozenset[str]) -> str | IssueList | None:
    """The resource type that the reference names, None or "" if it names none, or its error."""
    if text.startswith("#"):
        target = scope.contained_type(text[1:])
        if target is None:
            error = Message("{text} refers to a contained resource that does not exist", text=describe(text))
            return single_error(
                "not-found", Message("{reason}; no resource in contained has this id", reason=error), ".reference"
            )
        return target
    if match := RELATIVE_REFERENCE.fullmatch(text) or (_CONDITIONAL.fullmatch(text) if scope.in_transaction else None):
        if match[1] in resource_types:
            return match[1]
        error = Message(
            "{match} in {text} is not a resource type{hint}",
            match=match[1],
            text=describe(text),
            hint=near(match[1], resource_types),
        )
        return single_error("value", error, ".reference")
    if match := _RESTFUL.fullmatch(text):
        return match[1] if match[1] in resource_types else None
    if _ABSOLUTE.fullmatch(text):  # any URI, whatever its scheme requires
        return None
    return single_error(
        "value", Message("{text} is not a reference; {expected}", text=describe(text), expected=_EXPECTED), ".reference"
    )


def _check_type(declared: str, text: Any, allowed: frozenset[str], resource_types: frozenset[str]) -> IssueList | None:
    """Checks Reference.type. text: Reference.reference."""
    name = declared.removeprefix(_CORE)
    if name in allowed:
        named = RELATIVE_REFERENCE.fullmatch(text) if type(text) is str else None
        if named is None or named[1] == name or named[1] not in allowed:
            return None
        return single_error(
            "value",
            Message("the type {name} contradicts the reference {text}", name=name, text=describe(text)),
            ".type",
        )
    if name in resource_types:
        return single_error(
            "value",
            Message("the type {name} is not allowed here; allowed: {allowed}", name=name, allowed=listed(allowed)),
            ".type",
        )
    if ":" in name or name in _ABSTRACT or not name:
        return None  # a type of another model
    return single_error(
        "value",
        Message("{name} is not a resource type{hint}", name=describe(name), hint=near(name, resource_types)),
        ".type",
    )
