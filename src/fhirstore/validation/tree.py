"""The elements of a snapshot as a tree: an element, its parts, and its slices.

https://hl7.org/fhir/R4/elementdefinition.html#id: the ids say which element is part or slice of which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import StartupError
from fhirstore.validation.snapshot import Definition, Snapshot

_SYSTEM = "http://hl7.org/fhirpath/System."


class Part:
    """definition: the ElementDefinition. parts: by name ("value[x]" keeps its brackets). slices: by sliceName, with
    their own parts; those of a slice ("a/b") are in the slice ("a")."""

    __slots__ = ("definition", "id", "parts", "slices")

    def __init__(self, id: str, definition: Definition):
        self.id = id
        self.definition = definition
        self.parts: dict[str, Part] = {}
        self.slices: dict[str, Part] = {}

    def part(self, name: str) -> Part | None:
        """The part of that name, given without brackets."""
        return self.parts.get(name) or self.parts.get(name + "[x]")

    def types(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(code, ElementDefinition.type) of each allowed type; "string" for those of FHIRPath itself."""
        for declared in self.definition.get("type", ()):
            code: str = declared["code"]
            yield ("string" if code.startswith(_SYSTEM) else code), declared

    def codes(self) -> list[str]:
        return [code for code, _ in self.types()]

    def profiles(self) -> list[str]:
        """The canonicals that values must conform to."""
        return [p for _, declared in self.types() for p in declared.get("profile", ())]

    def targets(self) -> list[str]:
        """The canonicals that what is referred to must conform to."""
        return [p for _, declared in self.types() for p in declared.get("targetProfile", ())]

    def minimum(self) -> int:
        return int(self.definition.get("min", 0))

    def maximum(self) -> int | None:
        text = self.definition.get("max", "*")
        return None if text == "*" else int(text)


def make_tree(snapshot: Snapshot) -> Part:
    """The root of a snapshot's elements. Raises StartupError for an element whose parent is not there."""
    elements = iter(snapshot.elements.items())
    root = Part(*next(elements, ("", {})))
    places = {root.id: root}
    for id, definition in elements:
        parent_id, _, last = id.rpartition(".")
        name, _, slice_name = last.partition(":")
        part = places[id] = Part(id, definition)
        if not slice_name:
            owner = places.get(parent_id)
            family = owner.parts if owner else None
        else:
            outer, _, _ = slice_name.rpartition("/")
            sliced = f"{parent_id}.{name}"
            # a slice's name may hold a slash by itself; then there is no slice that it is a part of
            owner = places.get(f"{sliced}:{outer}") if outer else None
            owner = owner or places.get(sliced)
            family = owner.slices if owner else None
            if family is None and (owner := places.get(parent_id)) is not None:
                family, slice_name = owner.parts, ""  # the only one of what does not repeat
        if family is None:
            raise StartupError(f"{snapshot.where}: {id}: the element that it belongs to is missing")
        family[slice_name or name] = part
    return root
