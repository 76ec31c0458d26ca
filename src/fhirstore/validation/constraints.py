"""https://hl7.org/fhir/R4/elementdefinition.html: the constraints on single values that an ElementDefinition states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.definitions.model import TypeRef
from fhirstore.validation import value_rules as rules
from fhirstore.validation.issue_list import ProfileElement
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.rules import Rule
from fhirstore.validation.snapshot import CORE
from fhirstore.validation.targets import TargetProfiles

MIN_LENGTH = "http://hl7.org/fhir/StructureDefinition/minLength"
MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
_CHECKED_STRENGTHS = frozenset({"required", "extensible", "preferred"})


def find_constraint(definition: Mapping[str, Any], kind: str) -> tuple[str, Any] | None:
    """(key, value) of `fixed…`, `pattern…`, `minValue…` or `maxValue…` in an ElementDefinition. kind: without type."""
    for key, value in definition.items():
        if key.startswith(kind) and key[len(kind) : len(kind) + 1].isupper():
            return key, value
    return None


def constraint_rules(definition: Mapping[str, Any], element: ProfileElement) -> list[Rule]:
    """The rules of an ElementDefinition that depend on the value alone."""
    found: list[Rule] = []
    if constraint := find_constraint(definition, "fixed"):
        found.append(rules.fixed(*constraint, element))
    if constraint := find_constraint(definition, "pattern"):
        found.append(rules.pattern(*constraint, element))
    if (length := definition.get("maxLength")) is not None:
        found.append(rules.max_length(int(length), element))
    found += [
        rules.min_length(extension["valueInteger"], element)
        for extension in definition.get("extension", ())
        if extension.get("url") == MIN_LENGTH and "valueInteger" in extension
    ]
    for kind in ("minValue", "maxValue"):
        if constraint := find_constraint(definition, kind):
            found.append(rules.limit(*constraint, element))
    return found


def binding_rules(
    binding: Mapping[str, Any], type_code: str, element: ProfileElement, text_only_severity: str
) -> list[Rule]:
    """The rules of ElementDefinition.binding and of its maxValueSet. text_only_severity: see `value_rules.binding`."""
    found: list[Rule] = []
    strength, canonical = binding.get("strength"), binding.get("valueSet")
    if canonical and strength in _CHECKED_STRENGTHS:
        found.append(rules.binding(canonical, strength, type_code, element, text_only_severity))
    for extension in binding.get("extension", ()):
        if extension.get("url") == MAX_VALUE_SET:
            maximum = extension.get("valueCanonical") or extension.get("valueUri")
            found.append(rules.binding(maximum, "required", type_code, element, text_only_severity))
    return found


def target_rules(
    repository: ProfileRepository, declared: Mapping[str, Any], base: TypeRef, element: ProfileElement
) -> list[Rule]:
    """The rules of ElementDefinition.type.targetProfile and .aggregation of a Reference.

    base: the type of the element in R4. A profile that allows the same targets adds no rule."""
    found: list[Rule] = []
    if modes := declared.get("aggregation"):
        found.append(rules.aggregation(tuple(modes), element))
    urls: list[str] = declared.get("targetProfile", [])
    if urls and set(urls) != {CORE + t for t in base.targets} and CORE + "Resource" not in urls:
        types = {url: repository.type_of(url) for url in urls}
        core_types = frozenset(name for url, name in types.items() if name and repository.is_core(url))
        found.append(rules.target(repository, TargetProfiles(types, core_types), element))
    return found


def profile_rule(repository: ProfileRepository, profiles: list[str], element: ProfileElement) -> Rule:
    """The rule that a value conforms to one of the profiles.

    An unavailable profile, unless R4 defines it, gives a warning that names it."""
    known = [url for url in profiles if repository.known(url)]
    unknown = [url for url in profiles if not repository.known(url) and not repository.is_r4(url)]
    return rules.conforming(repository, known, unknown, len(known) == len(profiles), element)
