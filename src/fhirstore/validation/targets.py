"""https://hl7.org/fhir/R4/references.html: the constraints of a profile on the targets of references.

The type of the target is always checked, its conformance to a target profile if it is contained or in the same Bundle.
The aggregation mode is checked too (https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fhirstore.definitions.model import TypeRef
from fhirstore.model.messages import Message, disjunction
from fhirstore.validation.issue_list import IssueList, single_error, single_warning
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.scope import Rule, ValidationScope
from fhirstore.validation.snapshot import CORE
from fhirstore.validation.text import describe, listed

_NAMED = re.compile(
    r"(?:https?://\S+/)?([A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?|\?\S+)"
)
_ANY = frozenset({"Resource", "DomainResource"})


def target_rules(repository: ProfileRepository, declared: Mapping[str, Any], base: TypeRef, label: str) -> list[Rule]:
    """The rules of ElementDefinition.type.targetProfile and .aggregation of a Reference.

    base: what R4 itself requirements; where a profile says no more than that there are none."""
    rules: list[Rule] = []
    if modes := declared.get("aggregation"):
        rules.append(_aggregation(tuple(modes), label))
    targets: list[str] = declared.get("targetProfile", [])
    if targets and set(targets) != {CORE + t for t in base.targets} and CORE + "Resource" not in targets:
        rules.append(_target(repository, targets, label))
    return rules


def _aggregation(modes: tuple[str, ...], label: str) -> Rule:
    expected = disjunction(modes)

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        text = value.get("reference") if type(value) is dict else None
        if type(text) is not str:
            return None
        mode, _ = scope.locate(text)
        # An entry of the same Bundle is outside of the resource, so it counts as "referenced" too.
        if mode in modes or (mode == "bundled" and "referenced" in modes):
            return None
        return single_error(
            "value",
            Message(
                "{text} is {mode}; expected: {expected} [aggregation of {label}]",
                text=describe(text),
                mode=mode,
                expected=expected,
                label=label,
            ),
        )

    return check


def _target(repository: ProfileRepository, targets: list[str], label: str) -> Rule:
    types = {url: repository.type_of(url) for url in targets}
    unknown = [url for url, name in types.items() if name is None]
    known = sorted({name for name in types.values() if name})
    # A target that is a type of R4 constrains nothing but the type.
    plain = {name for url, name in types.items() if name and repository.is_core(url)}
    unavailable = listed(unknown)

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not dict:
            return None
        target = scope.resolve(value)
        name = str(target.get("resourceType")) if target is not None else referenced_type(value)
        if name is None or not _ANY.isdisjoint(plain):
            return None
        fitting = [url for url, of in types.items() if of == name or of in _ANY]
        shown = describe(value["reference"]) if type(value.get("reference")) is str else Message("the reference")
        if not fitting and not unknown:
            return single_error("value", _wrong_target(shown, name, known, label))
        if not fitting:
            return single_warning("not-supported", _unknown_target(shown, name, unavailable, label))
        if target is None or name in plain or any(repository.conforms(target, url, scope) for url in fitting):
            return None
        if unknown:
            text = Message(
                "{shown}: not checked: {unavailable} is unavailable [targetProfile of {label}]",
                shown=shown,
                unavailable=unavailable,
                label=label,
            )
            return single_warning("not-supported", text)
        reason = repository.first_error(target, fitting[0], scope)
        return single_error("value", _not_conforming(shown, fitting, reason, label))

    return check


def _wrong_target(shown: str, name: str, known: list[str], label: str) -> Message:
    return Message(
        "{shown} refers to {name}; allowed: {known} [targetProfile of {label}]",
        shown=shown,
        name=name,
        known=listed(known),
        label=label,
    )


def _unknown_target(shown: str, name: str, unavailable: str, label: str) -> Message:
    return Message(
        "{shown} refers to {name}; not checked: {unavailable} is unavailable [targetProfile of {label}]",
        shown=shown,
        name=name,
        unavailable=unavailable,
        label=label,
    )


def _not_conforming(shown: str, fitting: list[str], reason: str, label: str) -> Message:
    return Message(
        "{shown} does not conform to {fitting}: {reason} [targetProfile of {label}]",
        shown=shown,
        fitting=disjunction(fitting),
        reason=reason,
        label=label,
    )


def referenced_type(reference: Any) -> str | None:
    """The resource type that a Reference names in its reference or its type. None if it names none."""
    if type(reference) is not dict:
        return None
    text = reference.get("reference")
    match = _NAMED.fullmatch(text) if type(text) is str else None
    if match is not None:
        return match[1]
    declared = reference.get("type")
    name = declared.removeprefix(CORE) if type(declared) is str else "/"
    return None if "/" in name else name
