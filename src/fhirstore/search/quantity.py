"""Quantity parameters: https://hl7.org/fhir/R4/search.html#quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import Condition
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.messages import Message
from fhirstore.search.number import compare, decimal, keys
from fhirstore.search.syntax import SearchContext, prefixed, split, unescape

_CURRENCIES = "urn:iso:std:iso:4217"


def entries(values: Sequence[Typed]) -> list[IndexEntry]:
    """(key, system, code, unit) of each quantity or amount of money; a Range gives its two ends."""
    return [(key, *unit) for type, value in values for part, unit in _units(type, value) for key in keys(part)]


def _units(type: str, value: Any) -> list[tuple[Any, tuple[str, str, str]]]:
    if not isinstance(value, dict):
        return [(value, ("", "", ""))]
    if type == "Money":
        return [(value, (_CURRENCIES, value.get("currency", ""), ""))]
    if type == "Range":
        return [pair for end in (value.get("low"), value.get("high")) if end for pair in _units("Quantity", end)]
    return [(value, (value.get("system", ""), value.get("code", ""), value.get("unit", "")))]


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """`5.4`, `5.4|system|code`, `5.4||code` (any system; the code or the unit)."""
    return [_one(param.code, value) for value in values]


def _one(code: str, value: str) -> Condition:
    parts = [unescape(part).strip() for part in split(value, "|")]
    if len(parts) not in (1, 3):
        raise ValueError(
            Message("{value} is not a quantity. Use number, number|system|code or number||code", value=repr(value))
        )
    prefix, text = prefixed(parts[0])
    system, unit = (parts[1] or None, parts[2] or None) if len(parts) == 3 else (None, None)
    return compare(code, prefix, decimal(text), system, unit)
