"""The elements of a snapshot as a tree: each element with its children and its slices.

https://hl7.org/fhir/R4/elementdefinition.html#id: the ids tell the parent of an element, and the element that a slice
belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import StartupError
from fhirstore.validation.snapshot import Definition, Snapshot

_SYSTEM = "http://hl7.org/fhirpath/System."


class ElementNode:
    """An element of a profile, or a slice of one.

    definition: the ElementDefinition. children: by name ("value[x]" keeps its brackets). slices: by sliceName; the
    slices of a slice ("a/b") belong to the slice ("a")."""

    __slots__ = ("children", "definition", "id", "slices")

    def __init__(self, id: str, definition: Definition):
        self.id = id
        self.definition = definition
        self.children: dict[str, ElementNode] = {}
        self.slices: dict[str, ElementNode] = {}

    def child(self, name: str) -> ElementNode | None:
        """The child with a name, without brackets."""
        return self.children.get(name) or self.children.get(name + "[x]")

    def types(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(code, ElementDefinition.type) of each allowed type. The code is "string" for the types of FHIRPath."""
        for declared in self.definition.get("type", ()):
            code: str = declared["code"]
            yield ("string" if code.startswith(_SYSTEM) else code), declared

    def codes(self) -> list[str]:
        return [code for code, _ in self.types()]

    def profiles(self) -> list[str]:
        """The canonicals of the profiles that values must conform to."""
        return [p for _, declared in self.types() for p in declared.get("profile", ())]

    def targets(self) -> list[str]:
        """The canonicals of the profiles that the targets of references must conform to."""
        return [p for _, declared in self.types() for p in declared.get("targetProfile", ())]

    def minimum(self) -> int:
        return int(self.definition.get("min", 0))

    def maximum(self) -> int | None:
        """None if it is unbounded."""
        text = self.definition.get("max", "*")
        return None if text == "*" else int(text)


def build_tree(snapshot: Snapshot) -> ElementNode:
    """The root of a snapshot's elements. Raises StartupError for an element without a parent."""
    elements = iter(snapshot.elements.items())
    root = ElementNode(*next(elements, ("", {})))
    by_id = {root.id: root}
    for id, definition in elements:
        node = by_id[id] = ElementNode(id, definition)
        found = _siblings(id, by_id)
        if found is None:
            raise StartupError(f"{snapshot.where}: {id}: the parent element is missing")
        siblings, name = found
        siblings[name] = node
    return root


def _siblings(id: str, by_id: Mapping[str, ElementNode]) -> tuple[dict[str, ElementNode], str] | None:
    """The children or slices to which an element belongs, and its name among them."""
    parent_id, _, last = id.rpartition(".")
    name, _, slice_name = last.partition(":")
    parent = by_id.get(parent_id)
    if not slice_name:
        return (parent.children, name) if parent else None
    outer, _, _ = slice_name.rpartition("/")
    sliced = f"{parent_id}.{name}"
    # The name of a slice can contain a slash without being a slice of a slice.
    owner = (by_id.get(f"{sliced}:{outer}") if outer else None) or by_id.get(sliced)
    if owner is not None:
        return owner.slices, slice_name
    return (parent.children, name) if parent else None  # the only slice of an element that does not repeat
