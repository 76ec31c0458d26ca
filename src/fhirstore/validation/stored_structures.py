"""StructureDefinitions that clients write: https://hl7.org/fhir/R4/profiling.html."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol


class StructureSource(Protocol):
    """StructureDefinitions outside of the catalog, which can change."""

    def marker(self) -> Hashable:
        """A value that is different after each change."""

    def find(self, canonical: str) -> dict[str, Any] | None:
        """The StructureDefinition with this canonical ("url" or "url|version"); without a version, the latest one."""


class UsedStructures:
    """The structures of a source that rules were compiled from, or would have been if there were any.

    is_used: whether any was searched. marker: that of the source at the first search; once the source has another one,
    the rules are outdated."""

    def __init__(self, source: StructureSource):
        self.source = source
        self.marker: Hashable = None
        self.is_used = False

    def find(self, canonical: str) -> dict[str, Any] | None:
        if not self.is_used:  # the marker is read first, so that a change during the search is noticed
            self.marker, self.is_used = self.source.marker(), True
        return self.source.find(canonical)
