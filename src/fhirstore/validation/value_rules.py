"""https://hl7.org/fhir/R4/elementdefinition.html: the rules of a profile on single values.

They are fixed values, patterns, limits, bindings, the targets of references, and the profiles of types. `elements` and
`constraints` make them from an ElementDefinition.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from fhirstore.fhirpath.evaluation import equal
from fhirstore.fhirpath.operators import compare
from fhirstore.model.messages import Message, disjunction
from fhirstore.terminology.value_sets import ValueSet
from fhirstore.validation.bundle_index import Resource
from fhirstore.validation.issue_list import (
    IssueList,
    ProfileElement,
    single_error,
    single_information,
    single_warning,
)
from fhirstore.validation.rules import Rule, ValidationScope
from fhirstore.validation.targets import TargetProfiles
from fhirstore.validation.text import describe, render

_CORE = "http://hl7.org/fhir/StructureDefinition/"
_NAMED = re.compile(
    r"(?:https?://[^\s?]+/)?([A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?|\?\S+)"
)
ANY_RESOURCE = frozenset({"Resource", "DomainResource"})
_REPORT = {"required": single_error, "extensible": single_warning, "preferred": single_information}
_CODED = frozenset({"code", "string", "uri", "url", "canonical", "id", "markdown", "oid"})
_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})


class Profiles(Protocol):
    """The profiles that other profiles refer to: `repository.ProfileRepository`."""

    def rule(self, canonical: str) -> Rule: ...
    def conforms(self, resource: Resource, canonical: str, scope: ValidationScope) -> bool: ...
    def first_error(self, resource: Resource, canonical: str, scope: ValidationScope) -> str: ...


# --- fixed values, patterns and limits ----------------------------------------------------------------


def fixed(key: str, expected: Any, element: ProfileElement) -> Rule:
    is_text = type(expected) is str

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if value == expected and (is_text or equal(expected, value)):
            return None
        text = Message("expected {expected}, found {value}", expected=render(expected), value=render(value))
        return single_error("value", text, source=element.rule(key))

    return check


def matches_pattern(pattern: Any, value: Any) -> bool:
    """Whether a value contains everything in a pattern. The order of arrays does not matter."""
    if type(pattern) is str:
        return bool(pattern == value)
    if type(pattern) is dict:
        return type(value) is dict and all(k in value and matches_pattern(v, value[k]) for k, v in pattern.items())
    if type(pattern) is list:
        return type(value) is list and all(any(matches_pattern(p, v) for v in value) for p in pattern)
    return equal(pattern, value)


def pattern(key: str, expected: Any, element: ProfileElement) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if matches_pattern(expected, value):
            return None
        shown, found = render(expected), render(value)
        text = Message("expected a value that contains {expected}, found {value}", expected=shown, value=found)
        return single_error("value", text, source=element.rule(key))

    return check


def max_length(length: int, element: ProfileElement) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not str or len(value) <= length:
            return None
        text = Message("{count} characters; at most {length} are allowed", count=len(value), length=length)
        return single_error("too-long", text, source=element.rule("maxLength"))

    return check


def min_length(length: int, element: ProfileElement) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not str or len(value) >= length:
            return None
        text = Message("{count} characters; at least {length} are required", count=len(value), length=length)
        return single_error("value", text, source=element.rule("minLength"))

    return check


def limit(key: str, limit: Any, element: ProfileElement) -> Rule:
    """key: `minValue…` or `maxValue…` with a type."""
    is_minimum = key.startswith("min")

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        order = compare(value, limit)
        if order is None and type(limit) is dict and type(value) is dict and "value" in value:
            text = Message(
                "{value} cannot be compared with {limit}: the units differ", value=render(value), limit=render(limit)
            )
            return single_warning("not-supported", text, source=element.rule(key))
        if order is None or (order >= 0 if is_minimum else order <= 0):
            return None
        if is_minimum:
            text = Message("{value} is below the minimum {limit}", value=render(value), limit=render(limit))
        else:
            text = Message("{value} is above the maximum {limit}", value=render(value), limit=render(limit))
        return single_error("value", text, source=element.rule(key))

    return check


# --- bindings -----------------------------------------------------------------------------------------


def codings_of(value: Any, type_code: str) -> list[tuple[str | None, str]] | None:
    """The (system, code) pairs of a value. The system is None for a plain code. None for a type without bindings."""
    if type_code in _CODED:
        return [(None, value)] if type(value) is str else []
    if type_code == "CodeableConcept":
        codings = value.get("coding") if type(value) is dict else None
        items = codings if type(codings) is list else []
    elif type_code == "Coding" or type_code in _QUANTITIES:
        items = [value]
    else:
        return None
    return [
        (i["system"] if type(i.get("system")) is str else "", i["code"])
        for i in items
        if type(i) is dict and type(i.get("code")) is str
    ]


def binding(canonical: str, strength: str, type_code: str, element: ProfileElement, text_only_severity: str) -> Rule:
    """The rule of a binding (https://hl7.org/fhir/R4/terminologies.html#binding): required | extensible | preferred.

    A code outside of a required value set is an error, outside of an extensible one a warning, and outside of a
    preferred one an information, because other codes are valid too
    (https://hl7.org/fhir/R4/terminologies.html#preferred). If a code system or a value set is unavailable, a code
    cannot be checked: that gives a warning which names it, never an error. text_only_severity: error | warning, the
    severity of a concept that has only text where a code is required."""

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        codings = codings_of(value, type_code)
        if codings is None:
            return None
        members = scope.terminology.value_set(canonical)
        reason: str | None = None
        for system, code in codings:
            verdict = members.membership(system, code)
            if verdict is True:
                return None
            if verdict is not False:
                reason = reason or verdict
        if reason is not None:
            text = Message(
                "not checked against the {strength} value set {canonical}: {reason}",
                strength=strength,
                canonical=canonical,
                reason=reason,
            )
            return single_warning("not-supported", text, source=element.rule("binding"))
        if codings:
            return _not_member(members, codings, canonical, strength, type_code, element)
        if strength != "required" or type(value) is not dict:
            return None
        # Text can be valid without a code. A coding that names a system cannot.
        report = single_warning if text_only_severity == "warning" and not _names_system(value) else single_error
        return report("code-invalid", _no_code(canonical, _hint(members)), source=element.rule("binding"))

    return check


def no_value(canonical: str, element: ProfileElement) -> Rule:
    """The rule of the extensions of a primitive without a value, where a value set is required."""

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        hint = _hint(scope.terminology.value_set(canonical))
        return single_error("code-invalid", _no_code(canonical, hint), source=element.rule("binding"))

    return check


def _names_system(value: Mapping[str, Any]) -> bool:
    """Whether a coding of a concept, or a Coding itself, has a system."""
    codings = value.get("coding", [value])
    return type(codings) is list and any(type(c) is dict and c.get("system") for c in codings)


def _hint(members: ValueSet) -> str:
    expected = members.sample_codes()
    return Message("; expected: {expected}", expected=expected) if expected else ""


def _no_code(canonical: str, hint: str) -> Message:
    return Message("the required value set {canonical} requires a code{hint}", canonical=canonical, hint=hint)


def _not_member(
    members: ValueSet,
    codings: list[tuple[str | None, str]],
    canonical: str,
    strength: str,
    type_code: str,
    element: ProfileElement,
) -> IssueList:
    found = ", ".join(code if system is None else f"{system}|{code}" for system, code in codings)
    text = Message(
        "{found} is not in the {strength} value set {canonical}{hint}",
        found=describe(found),
        strength=strength,
        canonical=canonical,
        hint=_hint(members),
    )
    # If the value set has the code with another system, the error is in the system.
    path = ".system" if type_code == "Coding" and members.membership(None, codings[0][1]) is True else ""
    return _REPORT[strength]("code-invalid", text, path, source=element.rule("binding"))


# --- references ---------------------------------------------------------------------------------------


def referenced_type(reference: Any) -> str | None:
    """The resource type that a Reference names in its reference or its type. None if it names none."""
    if type(reference) is not dict:
        return None
    text = reference.get("reference")
    match = _NAMED.fullmatch(text) if type(text) is str else None
    if match is not None:
        return match[1]
    declared = reference.get("type")
    name = declared.removeprefix(_CORE) if type(declared) is str else "/"
    return None if "/" in name else name


def aggregation(modes: Collection[str], element: ProfileElement) -> Rule:
    """https://hl7.org/fhir/R4/valueset-resource-aggregation-mode.html"""
    expected = disjunction(modes)

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        text = value.get("reference") if type(value) is dict else None
        if type(text) is not str:
            return None
        mode = "referenced" if scope.bundle is None and text[:1] != "#" else scope.locate(text)[0]
        # An entry of the same Bundle is outside of the resource, so it counts as "referenced" too.
        if mode in modes or (mode == "bundled" and "referenced" in modes):
            return None
        error = Message("{text} is {mode}; expected: {expected}", text=describe(text), mode=mode, expected=expected)
        return single_error("value", error, source=element.rule("aggregation"))

    return check


def target(profiles: Profiles, targets: TargetProfiles, element: ProfileElement) -> Rule:
    """https://hl7.org/fhir/R4/references.html: the rule on the target of a Reference. Its type is always checked, its
    conformance if it is contained or in the same Bundle."""
    types, core_types = targets.types, targets.core_types
    accepts_any = not ANY_RESOURCE.isdisjoint(core_types)

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not dict or accepts_any:
            return None
        reference = value.get("reference")
        found = None
        if type(reference) is str and (scope.bundle is not None or reference[:1] == "#"):
            found = scope.locate(reference)[1]
        name = referenced_type(value) if found is None else str(found.get("resourceType"))
        if name is None:
            return None
        fitting = [url for url, of in types.items() if of == name or of in ANY_RESOURCE]
        if fitting and (found is None or name in core_types):
            return None
        if found is not None and any(profiles.conforms(found, url, scope) for url in fitting):
            return None
        reason = profiles.first_error(found, fitting[0], scope) if found is not None and fitting else ""
        return targets.issue(reference, name, fitting, reason, element.rule("targetProfile"))

    return check


def conforming(
    profiles: Profiles, known: list[str], unknown: list[str], is_complete: bool, element: ProfileElement
) -> Rule:
    """The rule that a value conforms to one of several profiles.

    known: those whose definition is available. unknown: others, which give a warning that names them. is_complete:
    whether there are no others."""
    rules: dict[str, Rule] = {}

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        value_scope = scope.for_value(value) if type(value) is dict and "resourceType" in value else scope
        first: IssueList | None = None
        for url in known:
            rule = rules.get(url) or rules.setdefault(url, profiles.rule(url))
            found = rule(value, value_scope)
            if found is None:
                scope.without_issues.add((id(value), url))
                return None
            if value_scope is not scope:
                for issue in (*found.errors, *found.warnings):
                    issue.within += (element.rule("profile"),)
            if not found.errors:
                return found
            first = first or found
        if unknown:
            text = Message("not checked: the profile {unknown} is unavailable", unknown=", ".join(unknown))
            return single_warning("not-supported", text, source=element.rule("profile"))
        return first if is_complete else None

    return check
