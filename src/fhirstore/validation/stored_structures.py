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
    """The structures of a source that rules were compiled from, or would have been if there were any, as of one
    marker."""

    def __init__(self, source: StructureSource):
        self._source = source
        self._marker: Hashable = None
        self._used = False

    def find(self, canonical: str) -> dict[str, Any] | None:
        if not self._used:  # the marker is read first, so that a change during the search is noticed
            self._marker, self._used = self._source.marker(), True
        return self._source.find(canonical)

    def are_outdated(self) -> bool:
        """Whether a structure has changed since the first search. False, without asking, before it."""
        return self._used and self._source.marker() != self._marker
