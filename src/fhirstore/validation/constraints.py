"""https://hl7.org/fhir/R4/elementdefinition.html: fixed[x], pattern[x], and the limits of values and lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.fhirpath.evaluation import equal
from fhirstore.fhirpath.operators import compare
from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, single_error, single_warning
from fhirstore.validation.scope import Rule, ValidationScope
from fhirstore.validation.text import render

MIN_LENGTH = "http://hl7.org/fhir/StructureDefinition/minLength"


def find_constraint(definition: Mapping[str, Any], kind: str) -> tuple[str, Any] | None:
    """(key, value) of `fixed…`, `pattern…`, `minValue…` or `maxValue…` in an ElementDefinition. kind: without type."""
    for key, value in definition.items():
        if key.startswith(kind) and key[len(kind) : len(kind) + 1].isupper():
            return key, value
    return None


def matches_pattern(pattern: Any, value: Any) -> bool:
    """Whether a value contains everything in a pattern. The order of arrays does not matter."""
    if type(pattern) is str:
        return bool(pattern == value)
    if type(pattern) is dict:
        return type(value) is dict and all(k in value and matches_pattern(v, value[k]) for k, v in pattern.items())
    if type(pattern) is list:
        return type(value) is list and all(any(matches_pattern(p, v) for v in value) for p in pattern)
    return equal(pattern, value)


def value_rules(definition: Mapping[str, Any], label: str) -> list[Rule]:
    """The rules of an ElementDefinition that depend on the value alone. label: the element and the profile."""
    rules: list[Rule] = []
    if found := find_constraint(definition, "fixed"):
        rules.append(_fixed(*found, label))
    if found := find_constraint(definition, "pattern"):
        rules.append(_pattern(*found, label))
    if (length := definition.get("maxLength")) is not None:
        rules.append(_max_length(int(length), label))
    rules += [
        _min_length(extension["valueInteger"], label)
        for extension in definition.get("extension", ())
        if extension.get("url") == MIN_LENGTH and "valueInteger" in extension
    ]
    for kind, sign in (("minValue", 1), ("maxValue", -1)):
        if found := find_constraint(definition, kind):
            rules.append(_bound(*found, sign, label))
    return rules


def _fixed(key: str, expected: Any, label: str) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if value == expected and equal(expected, value):
            return None
        return single_error(
            "value",
            Message(
                "expected {expected}, found {value} [{key} of {label}]",
                expected=render(expected),
                value=render(value),
                key=key,
                label=label,
            ),
        )

    return check


def _pattern(key: str, expected: Any, label: str) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if matches_pattern(expected, value):
            return None
        return single_error(
            "value",
            Message(
                "expected a value that contains {expected}, found {value} [{key} of {label}]",
                expected=render(expected),
                value=render(value),
                key=key,
                label=label,
            ),
        )

    return check


def _max_length(length: int, label: str) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not str or len(value) <= length:
            return None
        return single_error(
            "too-long",
            Message(
                "{count} characters; at most {length} are allowed [maxLength of {label}]",
                count=len(value),
                length=length,
                label=label,
            ),
        )

    return check


def _min_length(length: int, label: str) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not str or len(value) >= length:
            return None
        return single_error(
            "value",
            Message(
                "{count} characters; at least {length} are required [minLength of {label}]",
                count=len(value),
                length=length,
                label=label,
            ),
        )

    return check


def _bound(key: str, limit: Any, sign: int, label: str) -> Rule:
    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        order = compare(value, limit)
        if order is None and type(limit) is dict and type(value) is dict and "value" in value:
            text = Message(
                "{value} cannot be compared with {limit}: the units differ [{key} of {label}]",
                value=render(value),
                limit=render(limit),
                key=key,
                label=label,
            )
            return single_warning("not-supported", text)
        if order is None or order * sign >= 0:
            return None
        if sign > 0:
            return single_error(
                "value",
                Message(
                    "{value} is below the minimum {limit} [{key} of {label}]",
                    value=render(value),
                    limit=render(limit),
                    key=key,
                    label=label,
                ),
            )
        return single_error(
            "value",
            Message(
                "{value} is above the maximum {limit} [{key} of {label}]",
                value=render(value),
                limit=render(limit),
                key=key,
                label=label,
            ),
        )

    return check
