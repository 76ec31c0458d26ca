"""The one entry to terminology: what is at hand now, and what has been compiled of it so far."""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import chain

import msgspec

from fhirstore.definitions.catalog import Catalog
from fhirstore.terminology.catalog import Packaged
from fhirstore.terminology.members import Part
from fhirstore.terminology.model import Found, Nothing, Resource, Source, Undecided
from fhirstore.terminology.recent import Recent
from fhirstore.terminology.systems import System
from fhirstore.terminology.view import Compiled, View

KEPT_SYSTEMS = 2_000
KEPT_SETS = 4_000
"""What is kept compiled of the code systems and value sets that are used; R4 has about 1 000 of each."""


class Terminology:
    """One per process, before a fork too; threads share it.

    Every use begins with `current`, which asks the source whether anything changed: so a write that has been
    acknowledged, by whatever process, is never answered from what was known before."""

    def __init__(self, catalog: Catalog, source: Source | None = None):
        self._packaged = Packaged(catalog)
        self._source: Source = source or Nothing()
        self._systems: Recent[System] = Recent(KEPT_SYSTEMS)
        self._sets: Recent[Compiled] = Recent(KEPT_SETS)
        self._view = View(self, None)

    def current(self) -> View:
        """What is known now. Keep it for one request or one validation, not longer."""
        marker = self._source.marker()
        view = self._view
        if view.marker != marker:
            view = self._view = View(self, marker)
        return view

    # --- for views

    def candidates(self, type: str, url: str) -> Iterator[Found]:
        """All resources of that url: of the store, of packages, of R4, in the order in which they count."""
        return chain(self._source.find(type, url), self._packaged.find(type, url))

    def all(self, type: str) -> Iterator[Found]:
        return chain(self._source.all(type), self._packaged.all(type))

    def system_of(self, found: Found, canonical: str) -> System:
        """The code system of a resource. Raises Undecided where it cannot be read."""

        def make() -> System:
            try:
                return System(found.load())
            except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as e:
                raise Undecided(f"the code system {canonical} cannot be read: {e}", "invalid") from e

        return self._systems.get(found.key, make)

    def kept(self, canonical: str, view: View) -> Compiled | None:
        """A value set compiled before, if what it was made of is still the same."""
        found = self._sets.peek(canonical)
        return found if found is not None and view.is_current(found) else None

    def keep(self, canonical: str, compiled: Compiled) -> None:
        self._sets.put(canonical, compiled)

    def remote_set(self, canonical: str, reason: Undecided) -> Part | None:
        """A value set that is not at hand, as another server knows it."""
        return None

    def remote_part(self, part: Resource, reason: Undecided, known: Set[str]) -> Part | None:
        """An include of a code system that is not at hand, as another server knows it."""
        return None
