"""Uri parameters: https://hl7.org/fhir/R4/search.html#uri."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import Condition, Uri
from fhirstore.model.indexing import IndexEntry
from fhirstore.search.syntax import SearchContext, unescape

_HOW: dict[str | None, Literal["exact", "below", "above"]] = {None: "exact", "below": "below", "above": "above"}


def entries(values: Sequence[Typed]) -> list[IndexEntry]:
    """(uri,) as sent; a canonical with a version also without it."""
    return [(form,) for type, value in values if isinstance(value, str) for form in forms(type, value)]


def forms(type: str, value: str) -> tuple[str, ...]:
    """The texts under which a uri or canonical is found."""
    if type == "canonical" and "|" in value:
        return value, value.partition("|")[0]
    return (value,)


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """The same uri; `:below` those that begin with it, `:above` those that it begins with."""
    return [Uri(param.code, unescape(value), _HOW[modifier]) for value in values]
