"""String parameters: https://hl7.org/fhir/R4/search.html#string."""

from __future__ import annotations

from collections.abc import Sequence

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.formats.text import fold
from fhirstore.model.conditions import And, Condition, String
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.messages import Message
from fhirstore.search.syntax import SearchContext, unescape

_PARTS = {
    "HumanName": ("family", "given", "text", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    "ContactPoint": ("value",),
    "Identifier": ("value",),
    "Annotation": ("text",),
}


def entries(values: Sequence[Typed]) -> list[IndexEntry]:
    """(folded, as sent) of each text; names and addresses give one for each of their parts."""
    out: list[IndexEntry] = []
    for type, value in values:
        if isinstance(value, str):
            out.append((fold(value), value))
            continue
        for part in _PARTS.get(type, ()):
            found = value.get(part)
            texts = found if isinstance(found, list) else (found,)
            out += [(fold(text), text) for text in texts if isinstance(text, str)]
    return out


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """Texts that start with the value, whatever the case and accents; `:contains` anywhere; `:exact` as it stands."""
    return [_one(param.code, modifier, unescape(value)) for value in values]


def _one(code: str, modifier: str | None, value: str) -> Condition:
    if modifier == "exact":
        # An entry equal to the value starts with it once both are folded: that part has an index.
        return And((String(code, "prefix", fold(value)), String(code, "exact", value)))
    folded = fold(value)
    if not folded:
        raise ValueError(
            Message("{value} has nothing to search for. Use at least one letter, digit or sign", value=repr(value))
        )
    return String(code, "contains" if modifier == "contains" else "prefix", folded)
