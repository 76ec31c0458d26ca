"""https://hl7.org/fhir/R4/terminologies.html#binding: the bindings of profiles.

If a code system or a value set is unavailable, a code cannot be checked: that gives a warning which names it, never an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, single_error, single_information, single_warning
from fhirstore.validation.scope import Rule, ValidationScope
from fhirstore.validation.text import describe

MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
_REPORT = {"required": single_error, "extensible": single_warning, "preferred": single_information}
_CODED = frozenset({"code", "string", "uri", "url", "canonical", "id", "markdown", "oid"})
_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})


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


def membership_test(canonical: str, type_code: str) -> Callable[[Any, ValidationScope], bool]:
    """The test whether a value certainly has a code of a value set, for slices with a required binding."""

    def match(value: Any, scope: ValidationScope) -> bool:
        codings = codings_of(value, type_code)
        if not codings:
            return False
        test = scope.terminology.value_set(canonical).membership
        return any(test(system, code) is True for system, code in codings)

    return match


def binding_rules(binding: Mapping[str, Any], type_code: str, label: str, text_only_severity: str) -> list[Rule]:
    """The rules of ElementDefinition.binding and of its maxValueSet.

    A code outside of a required value set is an error, outside of an extensible one a warning, and outside of a
    preferred one an information, because other codes are valid too
    (https://hl7.org/fhir/R4/terminologies.html#preferred). text_only_severity: error | warning, the severity of a
    concept that has only text where a code is required."""
    rules: list[Rule] = []
    strength, canonical = binding.get("strength"), binding.get("valueSet")
    if canonical and strength in _REPORT:
        rules.append(_bound(canonical, strength, type_code, label, text_only_severity))
    for extension in binding.get("extension", ()):
        if extension.get("url") == MAX_VALUE_SET:
            limit = extension.get("valueCanonical") or extension.get("valueUri")
            rules.append(_bound(limit, "required", type_code, label, text_only_severity))
    return rules


def _not_checked(strength: str, canonical: str, reason: str, label: str) -> Message:
    return Message(
        "not checked against the {strength} value set {canonical}: {reason} [binding of {label}]",
        strength=strength,
        canonical=canonical,
        reason=reason,
        label=label,
    )


def _code_required(strength: str, canonical: str, hint: str, label: str) -> Message:
    return Message(
        "the {strength} value set {canonical} requires a code{hint} [binding of {label}]",
        strength=strength,
        canonical=canonical,
        hint=hint,
        label=label,
    )


def _bound(canonical: str, strength: str, type_code: str, label: str, text_only_severity: str) -> Rule:
    report = _REPORT[strength]
    report_text_only = single_error if text_only_severity == "error" else single_warning

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
            return single_warning("not-supported", _not_checked(strength, canonical, reason, label))
        expected = members.sample_codes()
        hint = Message("; expected: {expected}", expected=expected) if expected else ""
        if not codings:
            if strength != "required" or type(value) is not dict:
                return None
            return report_text_only("code-invalid", _code_required(strength, canonical, hint, label))
        found = ", ".join(code if system is None else f"{system}|{code}" for system, code in codings)
        text = Message(
            "{found} is not in the {strength} value set {canonical}{hint} [binding of {label}]",
            found=describe(found),
            strength=strength,
            canonical=canonical,
            hint=hint,
            label=label,
        )
        # If the value set has the code with another system, the error is in the system.
        path = ".system" if type_code == "Coding" and members.membership(None, codings[0][1]) is True else ""
        return report("code-invalid", text, path)

    return check
