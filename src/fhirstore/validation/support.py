"""https://hl7.org/fhir/R4/profiling.html#mustsupport: which elements that a profile marks a resource leaves out.

That is no fault; it is what a sender may want to know. Slices are not looked into: whether a value is one of a slice is
a matter of its rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.validation.tree import Part


def unsupported(part: Part, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(FHIRPath, element id) of each mustSupport element that is absent where the element around it is there.

    path: the FHIRPath of `value`, the object that `part` describes."""
    if type(value) is not dict:
        return
    for name, inner in part.parts.items():
        plain = name.removesuffix("[x]")
        place = f"{path}.{plain}"
        found = list(_values(value, plain, is_choice=plain != name))
        if not found and inner.definition.get("mustSupport") is True:
            yield place, inner.id
        for segment, one in found:
            yield from unsupported(inner, one, place + segment)


def _values(value: Mapping[str, Any], name: str, *, is_choice: bool) -> Iterator[tuple[str, Any]]:
    """(index or nothing, value) of an element; of a primitive also what stands in `_name`."""
    for key, item in value.items():
        bare = key.removeprefix("_")
        if bare == name or (is_choice and bare.startswith(name) and bare[len(name)].isupper()):
            if type(item) is list:
                yield from ((f"[{i}]", one) for i, one in enumerate(item))
            else:
                yield "", item
