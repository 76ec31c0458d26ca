"""Token parameters: https://hl7.org/fhir/R4/search.html#token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import (
    Condition,
    Not,
    Present,
    Token,
)
from fhirstore.model.indexing import IndexEntry
from fhirstore.search.implied import implied_codings
from fhirstore.search.terms import Scope, any_of, split, unescape

_PAIRS = {"Coding": "code", "Identifier": "value", "ContactPoint": "value"}
_PRESENT: IndexEntry = ("", "")
_MOST_KEPT = 50  # values


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


def condition(scope: Scope, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]) -> Condition:
    """`code`, `system|code`, `|code` (no system), `system|` (any code); `:not` holds where none of them does."""
    implied = implied_codings(scope.registry, type, param) if any("|" in value for value in values) else frozenset()
    found = _any(param.code, tuple(values), implied)
    return Not(found) if modifier == "not" else found


def identified(code: str, values: Sequence[str]) -> Condition:
    """The same for a parameter of identifiers, which imply no system."""
    return _any(code, tuple(values), frozenset())


def _any(code: str, values: tuple[str, ...], implied: frozenset[tuple[str, str]]) -> Condition:
    # Who asks for a list of identifiers asks for it again, for another time. Nobody can fill the memory with them.
    return (_kept if len(values) <= _MOST_KEPT else _made)(code, values, implied)


def _made(code: str, values: tuple[str, ...], implied: frozenset[tuple[str, str]]) -> Condition:
    return any_of([_one(code, value, implied) for value in values])


_kept = lru_cache(maxsize=256)(_made)


def _one(code: str, text: str, implied: frozenset[tuple[str, str]]) -> Condition:
    parts = split(text, "|")
    if len(parts) == 1:
        return Token(code, None, unescape(text))
    if len(parts) > 2:
        raise ValueError(f"{text!r} has more than one |: give code, system|code, |code or system|")
    system, value = parts if "\\" not in text else map(unescape, parts)
    if not system:
        if not value:
            raise ValueError("a | alone names nothing: give code, system|code, |code or system|")
        return Token(code, "", value)
    if not value:
        return Present(code) if any(system == s for s, _ in implied) else Token(code, system, None)
    return Token(code, "" if implied and (system, value) in implied else system, value)
