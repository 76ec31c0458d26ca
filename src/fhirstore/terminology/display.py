"""Which display of a concept is shown: https://hl7.org/fhir/R4/valueset-operation-expand.html (displayLanguage)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhirstore.formats.text import fold
from fhirstore.terminology.model import Designation

_USES = frozenset({"display", "preferredForLanguage", "900000000000013009"})


def display_in(display: str | None, designations: Sequence[Designation], language: str | None) -> str | None:
    """The display in a language (BCP 47; "fr" is satisfied by "fr-CA" too), else the usual one."""
    if language is None or not designations:
        return display
    fitting = [d for d in designations if in_language(d.language, language)]
    best = next((d for d in fitting if d.use is None or d.use.get("code") in _USES), fitting[0] if fitting else None)
    return display if best is None else best.value


def in_language(given: str | None, wanted: str) -> bool:
    """Whether a text in the language `given` serves who asks for `wanted`."""
    if given is None:
        return False
    have, want = given.lower(), wanted.lower()
    return have == want or have.startswith(want + "-") or want.startswith(have + "-")


def same_display(given: str, known: Iterable[str | None]) -> bool:
    """Whether a display is one of those known, whatever its case, accents and blanks."""
    folded = fold(given)
    return any(text is not None and fold(text) == folded for text in known)


def designation_json(designation: Designation) -> dict[str, Any]:
    """As it stands in a ValueSet."""
    out = {"language": designation.language, "use": designation.use, "value": designation.value}
    return {key: value for key, value in out.items() if value is not None}
