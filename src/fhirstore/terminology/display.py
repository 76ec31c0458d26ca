"""The display of a concept in a language: https://hl7.org/fhir/R4/valueset-operation-expand.html (displayLanguage)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhirstore.formats.text import fold
from fhirstore.terminology.model import Designation

_DISPLAY_USES = frozenset({"display", "preferredForLanguage", "900000000000013009"})


def display_in(display: str | None, designations: Sequence[Designation], language: str | None) -> str | None:
    """The display in a language (BCP 47; "fr" matches "fr-CA" too), else `display`."""
    if language is None or not designations:
        return display
    matching = [d for d in designations if in_language(d.language, language)]
    best = next(
        (d for d in matching if d.use is None or d.use.get("code") in _DISPLAY_USES), matching[0] if matching else None
    )
    return display if best is None else best.value


def in_language(language: str | None, requested: str) -> bool:
    """Whether a language matches the requested one: they are equal or one is a more specific form of the other."""
    if language is None:
        return False
    one, other = language.lower(), requested.lower()
    return one == other or one.startswith(other + "-") or other.startswith(one + "-")


def same_display(display: str, known: Iterable[str | None]) -> bool:
    """Whether a display is among the known ones, regardless of case, accents and spaces."""
    folded = fold(display)
    return any(text is not None and fold(text) == folded for text in known)


def designation_json(designation: Designation) -> dict[str, Any]:
    """The designation as an element of a ValueSet."""
    out = {"language": designation.language, "use": designation.use, "value": designation.value}
    return {key: value for key, value in out.items() if value is not None}
