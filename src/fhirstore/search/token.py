"""Token parameters: https://hl7.org/fhir/R4/search.html#token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import (
    Condition,
    Present,
    Token,
)
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.messages import Message
from fhirstore.search.implied import implied_codings
from fhirstore.search.syntax import SearchContext, split, unescape

_PAIRS = {"Coding": "code", "Identifier": "value", "ContactPoint": "value"}
_PRESENT: IndexEntry = ("", "")
_MAX_CACHED_VALUES = 50
_NONE: frozenset[tuple[str, str]] = frozenset()


def entries(values: Sequence[Typed]) -> list[IndexEntry]:
    """(system, code) of each coding, identifier, contact point, code…; a value that has neither gives ("", "")."""
    out: list[IndexEntry] = []
    for type, value in values:
        if type == "CodeableConcept":
            out += [_pair(coding, "code") for coding in value.get("coding", ())]
        elif type in _PAIRS:
            out.append(_pair(value, _PAIRS[type]))
        elif isinstance(value, str):
            out.append(("", value))
        elif isinstance(value, bool):
            out.append(("", "true" if value else "false"))
        elif isinstance(value, int):
            out.append(("", str(value)))
    return out or [_PRESENT]


def _pair(value: dict[str, Any], member: str) -> IndexEntry:
    system, code = value.get("system"), value.get(member)
    return (system if isinstance(system, str) else "", code if isinstance(code, str) else "")


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """`code`, `system|code`, `|code` (no system), `system|` (any code)."""
    implied = _NONE
    if any("|" in value for value in values):
        implied = implied_codings(context.registry.catalog.core, type, param.expression)
    # Lists of identifiers recur in searches for another time. The limits bound the memory that they take.
    parse = _cached if len(values) <= _MAX_CACHED_VALUES else _parsed
    return parse(param.code, tuple(values), implied)


def identifier_alternatives(code: str, values: Sequence[str]) -> Sequence[Condition]:
    """The alternatives of a parameter of identifiers, which imply no system."""
    return _parsed(code, tuple(values), _NONE)


def _parsed(code: str, values: tuple[str, ...], implied: frozenset[tuple[str, str]]) -> tuple[Condition, ...]:
    return tuple(_one(code, value, implied) for value in values)


_cached = lru_cache(maxsize=256)(_parsed)


def _one(code: str, text: str, implied: frozenset[tuple[str, str]]) -> Condition:
    parts = split(text, "|")
    if len(parts) == 1:
        return Token(code, None, unescape(text))
    if len(parts) > 2:
        raise ValueError(
            Message("{text} has more than one |. Use code, system|code, |code or system|", text=repr(text))
        )
    system, value = parts if "\\" not in text else map(unescape, parts)
    if not system:
        if not value:
            raise ValueError(Message("a | alone has no meaning. Use code, system|code, |code or system|"))
        return Token(code, "", value)
    if not value:
        return Present(code) if any(system == s for s, _ in implied) else Token(code, system, None)
    return Token(code, "" if implied and (system, value) in implied else system, value)
