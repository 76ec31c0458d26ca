"""`_sort`: https://hl7.org/fhir/R4/search.html#sort."""

from __future__ import annotations

from fhirstore.capability.registry import ServedType
from fhirstore.model.conditions import Sort
from fhirstore.model.messages import Message
from fhirstore.search.filters import UnknownParameter
from fhirstore.search.index import KINDS

_BUILT_IN = ("_id", "_lastUpdated")


def read_sort(served: ServedType, text: str) -> tuple[Sort, ...]:
    """Parses `-date,status` to sort keys, each parameter once. Raises UnknownParameter."""
    keys: dict[str, Sort] = {}
    for part in text.split(","):
        code = part.strip()
        descending = code.startswith("-")
        code = code.removeprefix("-")
        if code not in _BUILT_IN:
            param = served.params.get(code)
            if param is None or not param.declared or param.type not in KINDS:
                raise UnknownParameter(Message("{name} cannot be sorted by {code}", name=served.name, code=repr(code)))
        keys.setdefault(code, Sort(code, descending))
    return tuple(keys.values())
