"""The StructureDefinitions that clients write to the store, by canonical.

Resources are validated against them as soon as they are written, in every process: each commit that changes one
replaces a record, whose value is the marker.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Hashable, Sequence
from typing import Any

from fhirstore.capability.registry import Registry
from fhirstore.definitions.versions import version_key
from fhirstore.interactions.stored_terminology import parse_stored
from fhirstore.model.conditions import Uri
from fhirstore.model.stored import Change, Record
from fhirstore.store.protocol import Store

TYPE = "StructureDefinition"
RECORD_KIND = "fhirstore.structures"
_MARKER_KEY = "changed"
_PAGE_SIZE = 50


def structure_markers(changes: Sequence[Change]) -> list[Record]:
    """The record to commit with the changes; empty if they change no StructureDefinition."""
    if any(change.type == TYPE for change in changes):
        return [Record(RECORD_KIND, _MARKER_KEY, uuid.uuid4().bytes)]
    return []


class StoredStructures:
    """`validation.stored_structures.StructureSource` for the store of a server.

    They are found if their url is indexed: if the search parameter is served, and after `fhirstore reindex`.
    package_owned: "Type/id" of the stored copies of packages' resources. They are left out because the packages
    themselves provide them."""

    def __init__(self, store: Store, registry: Registry, package_owned: Container[str] = frozenset()):
        self._store, self._package_owned = store, package_owned
        self._is_indexed = "url" in registry.indexed_types.get(TYPE, ())

    def marker(self) -> Hashable:
        record = self._store.get_record(RECORD_KIND, _MARKER_KEY)
        return record.value if record else None

    def find(self, canonical: str) -> dict[str, Any] | None:
        """Of several resources with one canonical, the one that was written last."""
        url, _, version = canonical.partition("|")
        found = [r for r in self._with_url(url) if not version or r[0].get("version") == version]
        return max(found, key=lambda one: (version_key(str(one[0].get("version", ""))), one[1]))[0] if found else None

    def _with_url(self, url: str) -> list[tuple[dict[str, Any], int]]:
        """The StructureDefinitions with this url and the times of their changes."""
        if not self._is_indexed or (TYPE, "url") in self._store.pending_parameters():
            return []  # a search without the index would read all of them for each unknown canonical
        found: list[tuple[dict[str, Any], int]] = []
        after: list[Any] | None = None
        while True:
            page = self._store.find(TYPE, Uri("url", url), after=after, limit=_PAGE_SIZE)
            for row in page.entries:
                if row.ref not in self._package_owned:
                    resource = parse_stored(row)
                    if resource.get("url") == url:
                        found.append((resource, row.updated))
            if page.next is None:
                return found
            after = page.next
