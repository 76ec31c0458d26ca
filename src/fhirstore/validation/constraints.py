"""https://hl7.org/fhir/R4/elementdefinition.html: fixed[x], pattern[x], the limits of values and lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from fhirstore.validation.findings import Findings, describe, refuse, warn
from fhirstore.validation.scope import Rule, Scope

MIN_LENGTH = "http://hl7.org/fhir/StructureDefinition/minLength"
_SHOWN = 200
_NUMBERS = (int, Decimal, float)


def stated(definition: Mapping[str, Any], kind: str) -> tuple[str, Any] | None:
    """(key, value) of `fixed…`, `pattern…`, `minValue…` or `maxValue…` in an ElementDefinition; kind without type."""
    for key, value in definition.items():
        if key.startswith(kind) and key[len(kind) : len(kind) + 1].isupper():
            return key, value
    return None


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; true is not 1."""
    if type(one) is str:
        return bool(one == other)
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(equal(v, other[k]) for k, v in one.items())
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(equal, one, other))
    return (type(one) is bool) is (type(other) is bool) and bool(one == other)


def fits(pattern: Any, value: Any) -> bool:
    """Whether a value has all that the pattern has, in arrays in any order."""
    if type(pattern) is str:
        return bool(pattern == value)
    if type(pattern) is dict:
        return type(value) is dict and all(k in value and fits(v, value[k]) for k, v in pattern.items())
    if type(pattern) is list:
        return type(value) is list and all(any(fits(p, v) for v in value) for p in pattern)
    return equal(pattern, value)


def value_rules(definition: Mapping[str, Any], label: str) -> list[Rule]:
    """The rules of an ElementDefinition that look at the value alone. label: names element and profile."""
    rules: list[Rule] = []
    if found := stated(definition, "fixed"):
        rules.append(_fixed(*found, label))
    if found := stated(definition, "pattern"):
        rules.append(_pattern(*found, label))
    if (length := definition.get("maxLength")) is not None:
        rules.append(_max_length(int(length), label))
    rules += [
        _min_length(extension["valueInteger"], label)
        for extension in definition.get("extension", ())
        if extension.get("url") == MIN_LENGTH and "valueInteger" in extension
    ]
    for kind, sign in (("minValue", 1), ("maxValue", -1)):
        if found := stated(definition, kind):
            rules.append(_bound(*found, sign, label))
    return rules


def _fixed(key: str, wanted: Any, label: str) -> Rule:
    def check(value: Any, scope: Scope) -> Findings | None:
        if value == wanted and equal(wanted, value):
            return None
        return refuse("value", f"{shown(value)} is not {shown(wanted)} [{key} of {label}]")

    return check


def _pattern(key: str, wanted: Any, label: str) -> Rule:
    def check(value: Any, scope: Scope) -> Findings | None:
        if fits(wanted, value):
            return None
        return refuse("value", f"{shown(value)} does not hold {shown(wanted)} [{key} of {label}]")

    return check


def _max_length(length: int, label: str) -> Rule:
    def check(value: Any, scope: Scope) -> Findings | None:
        if type(value) is not str or len(value) <= length:
            return None
        return refuse("too-long", f"{len(value)} characters; at most {length} are allowed [maxLength of {label}]")

    return check


def _min_length(length: int, label: str) -> Rule:
    def check(value: Any, scope: Scope) -> Findings | None:
        if type(value) is not str or len(value) >= length:
            return None
        return refuse("value", f"{len(value)} characters; at least {length} are wanted [minLength of {label}]")

    return check


def _bound(key: str, limit: Any, sign: int, label: str) -> Rule:
    def check(value: Any, scope: Scope) -> Findings | None:
        order = compare(value, limit)
        if order is None and type(limit) is dict and type(value) is dict and "value" in value:
            text = f"{shown(value)} has another unit than {shown(limit)}: not compared [{key} of {label}]"
            return warn("not-supported", text)
        if order is None or order * sign >= 0:
            return None
        if sign > 0:
            return refuse("value", f"{shown(value)}; at least {shown(limit)} is wanted [{key} of {label}]")
        return refuse("value", f"{shown(value)}; at most {shown(limit)} is wanted [{key} of {label}]")

    return check


def compare(value: Any, other: Any) -> int | None:
    """-1, 0 or 1 as `value` is below, at or above `other`; None when that cannot be told.

    Numbers, dates and times (at the precision that both have), and quantities of the same unit."""
    if type(value) in _NUMBERS and type(other) in _NUMBERS:
        return int(value > other) - int(value < other)
    if type(value) is str and type(other) is str:
        return _compare_times(value, other)
    if type(value) is dict and type(other) is dict and all(value.get(k) == other.get(k) for k in ("system", "code")):
        return compare(value.get("value"), other.get("value"))
    return None


def _compare_times(value: str, other: str) -> int | None:
    if "T" in value and "T" in other:
        try:
            one, two = datetime.fromisoformat(value), datetime.fromisoformat(other)
            return int(one > two) - int(one < two)
        except (ValueError, TypeError):
            return None
    length = min(len(value.partition("T")[0]), len(other.partition("T")[0]))
    one_text, two_text = value[:length], other[:length]
    return int(one_text > two_text) - int(one_text < two_text)


def shown(value: Any) -> str:
    """A JSON value in a message: objects and arrays as JSON, cut after some."""
    if type(value) not in (dict, list):
        return describe(value)
    text = json.dumps(value, ensure_ascii=True, default=float)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
