"""https://hl7.org/fhir/R4/references.html: what a profile demands of the resource that a reference points to.

Its type always; its conformance to a target profile when the resource is contained or in the same Bundle; and where it
stands (https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fhirstore.definitions.model import TypeRef
from fhirstore.validation.findings import Findings, describe, listed, refuse, warn
from fhirstore.validation.scope import Rule, Scope
from fhirstore.validation.snapshot import CORE

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository

_NAMED = re.compile(
    r"(?:https?://\S+/)?([A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?|\?\S+)"
)
_ANY = frozenset({"Resource", "DomainResource"})


def target_rules(structures: ProfileRepository, declared: Mapping[str, Any], base: TypeRef, label: str) -> list[Rule]:
    """The rules of ElementDefinition.type.targetProfile and .aggregation of a Reference.

    base: what R4 itself demands; where a profile says no more than that there are none."""
    rules: list[Rule] = []
    if modes := declared.get("aggregation"):
        rules.append(_aggregation(tuple(modes), label))
    targets: list[str] = declared.get("targetProfile", [])
    if targets and set(targets) != {CORE + t for t in base.targets} and CORE + "Resource" not in targets:
        rules.append(_target(structures, targets, label))
    return rules


def _aggregation(modes: tuple[str, ...], label: str) -> Rule:
    wanted = " or ".join(modes)

    def check(value: Any, scope: Scope) -> Findings | None:
        text = value.get("reference") if type(value) is dict else None
        if type(text) is not str:
            return None
        mode, _ = scope.resolve(text)
        # what is in the same Bundle is outside of the resource, so it is "referenced" too
        if mode in modes or (mode == "bundled" and "referenced" in modes):
            return None
        return refuse("value", f"{describe(text)} is {mode}; wanted: {wanted} [aggregation of {label}]")

    return check


def _target(structures: ProfileRepository, targets: list[str], label: str) -> Rule:
    types = {url: structures.type_of(url) for url in targets}
    unknown = [url for url, name in types.items() if name is None]
    known = sorted({name for name in types.values() if name})
    # a type of R4 itself asks no more than the type
    plain = {name for url, name in types.items() if name and structures.is_core(url)}

    def check(value: Any, scope: Scope) -> Findings | None:
        if type(value) is not dict:
            return None
        text = value.get("reference")
        target = scope.resolve(text)[1] if type(text) is str else None
        name = str(target.get("resourceType")) if target is not None else referred_type(value)
        if name is None or not _ANY.isdisjoint(plain):
            return None
        fitting = [url for url, of in types.items() if of == name or of in _ANY]
        shown = describe(text) if type(text) is str else "the reference"
        if not fitting and not unknown:
            return refuse("value", f"{shown} points to {name}; allowed: {listed(known)} [targetProfile of {label}]")
        if not fitting:
            return warn(
                "not-supported",
                f"{shown} points to {name}; not checked: {listed(unknown)} not at hand [targetProfile of {label}]",
            )
        if target is None or name in plain or any(structures.conforms(target, url, scope) for url in fitting):
            return None
        if unknown:
            return warn(
                "not-supported", f"{shown}: not checked: {listed(unknown)} not at hand [targetProfile of {label}]"
            )
        reason = structures.first_fault(target, fitting[0], scope)
        return refuse(
            "value", f"{shown} does not conform to {' or '.join(fitting)}: {reason} [targetProfile of {label}]"
        )

    return check


def referred_type(reference: Any) -> str | None:
    """The resource type that a Reference names, in its text or as its type; None when it names none."""
    if type(reference) is not dict:
        return None
    text = reference.get("reference")
    match = _NAMED.fullmatch(text) if type(text) is str else None
    if match is not None:
        return match[1]
    declared = reference.get("type")
    name = declared.removeprefix(CORE) if type(declared) is str else "/"
    return None if "/" in name else name
