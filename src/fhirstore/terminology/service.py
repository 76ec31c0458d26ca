"""The entry point to terminology."""

from __future__ import annotations

from fhirstore.definitions.catalog import Catalog
from fhirstore.terminology.cache import SharedCache
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.compiler import CompiledValueSet
from fhirstore.terminology.expansion import Expansion
from fhirstore.terminology.model import EmptySource, TerminologySource
from fhirstore.terminology.packaged import PackagedTerminology
from fhirstore.terminology.remote import RemoteTerminology
from fhirstore.terminology.resources import TerminologyResources
from fhirstore.terminology.snapshot import TerminologySnapshot
from fhirstore.terminology.value_sets import ValueSet

CACHED_VALUE_SETS = 4_000
"""Compiled value sets; R4 has about 1 300."""
CACHED_EXPANSIONS = 8
"""Enumerated value sets; paging reads them repeatedly."""


class Terminology:
    """One per process, created before it forks; threads share it.

    source: resources in addition to those of the catalog. remote: another server for unavailable codes.

    Every request starts with `current`, which compares the marker of the source. A write acknowledged by any process is
    therefore visible to the next request."""

    def __init__(
        self, catalog: Catalog, source: TerminologySource | None = None, remote: RemoteTerminology | None = None
    ):
        self.remote = remote
        self._resources = TerminologyResources(source or EmptySource(), PackagedTerminology(catalog))
        self._compiled: SharedCache[CompiledValueSet] = SharedCache(CACHED_VALUE_SETS)
        self._expansions: SharedCache[Expansion] = SharedCache(CACHED_EXPANSIONS)
        self._snapshot = TerminologySnapshot(self._resources, self._compiled, remote, None)

    def current(self) -> TerminologySnapshot:
        """The current snapshot. Use it for one request or one validation, not longer."""
        marker = self._resources.marker()
        snapshot = self._snapshot
        if snapshot.marker != marker:
            snapshot = self._snapshot = TerminologySnapshot(self._resources, self._compiled, self.remote, marker)
        return snapshot

    def expansion(self, value_set: ValueSet) -> Expansion:
        """All codes of a value set, cached. Raises Unresolved if they cannot be enumerated."""
        if value_set.is_remote:  # RemoteTerminology caches the answers, for a limited time
            return Expansion(value_set)
        found = self._expansions.get(id(value_set), lambda: Expansion(value_set))
        if found.value_set is not value_set:  # a discarded value set had the same id
            found = Expansion(value_set)
            self._expansions.put(id(value_set), found)
        return found

    def cached_code_systems(self) -> list[CodeSystem]:
        """The compiled code systems, for tests of memory use."""
        return self._resources.cached_code_systems()
