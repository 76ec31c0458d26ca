"""https://hl7.org/fhir/R4/profiling.html#mustsupport: the mustSupport elements of a profile that a resource omits.

Their absence is no error. Slices are not searched, because the rules of a slice decide which values belong to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.validation.tree import ElementNode


def missing_must_support(node: ElementNode, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """(FHIRPath, element id) of each absent mustSupport element whose parent is present.

    path: the FHIRPath of `value`, the object that `node` describes."""
    if type(value) is not dict:
        return
    for name, child in node.children.items():
        plain = name.removesuffix("[x]")
        child_path = f"{path}.{plain}"
        found = list(_values(value, plain, is_choice=plain != name))
        if not found and child.definition.get("mustSupport") is True:
            yield child_path, child.id
        for segment, one in found:
            yield from missing_must_support(child, one, child_path + segment)


def _values(value: Mapping[str, Any], name: str, *, is_choice: bool) -> Iterator[tuple[str, Any]]:
    """(index or "", value) of an element. The objects in `_name` count as values of a primitive."""
    for key, item in value.items():
        bare = key.removeprefix("_")
        if bare == name or (is_choice and bare.startswith(name) and bare[len(name)].isupper()):
            if type(item) is list:
                yield from ((f"[{i}]", one) for i, one in enumerate(item))
            else:
                yield "", item
