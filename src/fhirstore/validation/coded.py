"""https://hl7.org/fhir/R4/terminologies.html#binding: the value sets that profiles bind.

What cannot be decided, because a code system or a value set is not at hand, gives a warning that names it, never an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.validation.findings import Findings, describe, note, refuse, warn
from fhirstore.validation.scope import Rule, Scope

MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
_TELL = {"required": refuse, "extensible": warn, "preferred": note}
_CODED = frozenset({"code", "string", "uri", "url", "canonical", "id", "markdown", "oid"})
_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})


def coded(value: Any, type_code: str) -> list[tuple[str | None, str]] | None:
    """The (system, code) of a value; system None = any. None for a type that cannot be bound."""
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


def matcher(canonical: str, type_code: str) -> Callable[[Any, Scope], bool]:
    """Whether a value surely has a code of the value set; for slices that only a required binding tells apart."""

    def match(value: Any, scope: Scope) -> bool:
        asked = coded(value, type_code)
        if not asked:
            return False
        test = scope.terms.value_set(canonical).membership
        return any(test(system, code) is True for system, code in asked)

    return match


def binding_rules(binding: Mapping[str, Any], type_code: str, label: str, text_only_severity: str) -> list[Rule]:
    """The rules of an ElementDefinition.binding. text_only_severity: severity of text alone where a code is required.

    required: an error; extensible: a warning; preferred: an information, since other codes are right too
    (https://hl7.org/fhir/R4/terminologies.html#preferred). What is not at hand: a warning that names it."""
    rules: list[Rule] = []
    strength, canonical = binding.get("strength"), binding.get("valueSet")
    if canonical and strength in _TELL:
        rules.append(_bound(canonical, strength, type_code, label, text_only_severity))
    for extension in binding.get("extension", ()):
        if extension.get("url") == MAX_VALUE_SET:
            limit = extension.get("valueCanonical") or extension.get("valueUri")
            rules.append(_bound(limit, "required", type_code, label, text_only_severity))
    return rules


def _bound(canonical: str, strength: str, type_code: str, label: str, text_only_severity: str) -> Rule:
    tell = _TELL[strength]

    def check(value: Any, scope: Scope) -> Findings | None:
        asked = coded(value, type_code)
        if asked is None:
            return None
        value_set = scope.terms.value_set(canonical)
        test = value_set.membership
        unsure: str | None = None
        for system, code in asked:
            verdict = test(system, code)
            if verdict is True:
                return None
            if verdict is not False:
                unsure = unsure or verdict
        if unsure is not None:
            return warn(
                "not-supported",
                f"not checked against the {strength} value set {canonical}: {unsure} [binding of {label}]",
            )
        wanted = value_set.sample_codes()
        more = f"; wanted: {wanted}" if wanted else ""
        if not asked:
            if strength != "required" or type(value) is not dict:
                return None
            text = f"there is no code, so none of the {strength} value set {canonical}{more} [binding of {label}]"
            return refuse("code-invalid", text) if text_only_severity == "error" else warn("code-invalid", text)
        given = ", ".join(code if system is None else f"{system}|{code}" for system, code in asked)
        text = f"{describe(given)} is not in the {strength} value set {canonical}{more} [binding of {label}]"
        # the right code of the wrong system: the fault is in the system
        place = ".system" if type_code == "Coding" and test(None, asked[0][1]) is True else ""
        return tell("code-invalid", text, place)

    return check
