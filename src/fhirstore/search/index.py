"""Index extraction: the entries that a resource has for each search parameter.

https://hl7.org/fhir/R4/search.html#ptypes. Entries have the shapes of `model.indexing`. Runs on every write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.indexing import IndexEntry
from fhirstore.search import date, number, quantity, reference, string, token, uri
from fhirstore.search.reference import IDENTIFIER

VERSION = "1"
"""Changes when the entries of a value change. All resources must then be reindexed."""

_PLAIN: dict[str, Callable[[Sequence[Typed]], list[IndexEntry]]] = {
    "token": token.entries,
    "string": string.entries,
    "uri": uri.entries,
    "number": number.entries,
    "quantity": quantity.entries,
}
KINDS = frozenset((*_PLAIN, "date", "reference"))


def extract(
    params: Mapping[str, SearchParam], resource: dict[str, Any], zone: tzinfo = UTC, base: str | None = None
) -> dict[str, list[IndexEntry]]:
    """Entries by parameter code, each entry once. Parameters without a value are omitted.

    zone completes times without offset. base: the server's own base URL (no slash at its end), taken off
    references. A value that is not
    of its type (stored with validation off) gives no entry.
    """
    out: dict[str, list[IndexEntry]] = {}
    for code, param in params.items():
        kind = param.type
        if kind not in KINDS:
            continue
        values = param.extract(resource)
        if not values:
            continue
        if found := _entries(kind, values, zone, base):
            out[code] = found
        if (
            kind == "reference"
            and (named := reference.identifiers(values))
            and (found := _entries("token", named, zone, base))
        ):
            out[code + IDENTIFIER] = found
    return out


def _entries(kind: str, values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    try:
        if kind == "date":
            found = date.entries(values, zone)
        elif kind == "reference":
            found = reference.entries(values, base)
        else:
            found = _PLAIN[kind](values)
        return found if len(found) < 2 else list(dict.fromkeys(found))
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        # A value does not have its type: keep the entries of the other values.
        if len(values) == 1:
            return []
        return list(dict.fromkeys(entry for value in values for entry in _entries(kind, (value,), zone, base)))
