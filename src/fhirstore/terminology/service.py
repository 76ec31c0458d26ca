"""The one entry to terminology: what is at hand now, and what has been compiled of it so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Set
from itertools import chain
from typing import TypeVar

import msgspec

from fhirstore.definitions.catalog import Catalog
from fhirstore.terminology.catalog import Packaged
from fhirstore.terminology.expand import Listing
from fhirstore.terminology.members import Members, Part
from fhirstore.terminology.model import (
    Nothing,
    Resource,
    Source,
    TerminologyResource,
    Unresolved,
)
from fhirstore.terminology.recent import Recent
from fhirstore.terminology.remote import Elsewhere, Remote
from fhirstore.terminology.systems import System
from fhirstore.terminology.view import Compiled, View

KEPT_SYSTEMS = 2_000
KEPT_SETS = 4_000
KEPT_PARSED = 1_000
KEPT_LISTINGS = 8
"""What is kept of code systems and value sets, compiled (R4 has about 1 000 of each), of concept maps, and of the lists
of all codes of value sets."""

_Value = TypeVar("_Value")


class Terminology:
    """One per process, before a fork too; threads share it. remote: another server, asked for what is not at hand.

    Every use begins with `current`, which asks the source whether anything changed: so a write that has been
    acknowledged, by whatever process, is never answered from what was known before."""

    def __init__(self, catalog: Catalog, source: Source | None = None, remote: Remote | None = None):
        self.remote = remote
        self._packaged = Packaged(catalog)
        self._source: Source = source or Nothing()
        self._systems: Recent[tuple[Hashable, System]] = Recent(KEPT_SYSTEMS)
        self._parsed: Recent[tuple[Hashable, Resource]] = Recent(KEPT_PARSED)
        self._sets: Recent[Compiled] = Recent(KEPT_SETS)
        self._listings: Recent[Listing] = Recent(KEPT_LISTINGS)
        self._view = View(self, None)

    def current(self) -> View:
        """What is known now. Keep it for one request or one validation, not longer."""
        marker = self._source.marker()
        view = self._view
        if view.marker != marker:
            view = self._view = View(self, marker)
        return view

    def listing(self, members: Members) -> Listing:
        """All codes of a value set; kept for a while, since pages of it are asked for. Raises Unresolved."""
        if members.is_elsewhere:  # what another server says is kept by `Remote`, and not for ever
            return Listing(members)
        found = self._listings.get(id(members), lambda: Listing(members))
        if found.members is not members:  # another had this identity before
            found = Listing(members)
            self._listings.put(id(members), found)
        return found

    # --- for views

    def candidates(self, type: str, url: str) -> Iterator[TerminologyResource]:
        """All resources of that url: of the store, of packages, of R4, in the order in which they count."""
        return chain(self._source.find(type, url), self._packaged.find(type, url))

    def all(self, type: str) -> Iterator[TerminologyResource]:
        return chain(self._source.all(type), self._packaged.all(type))

    def system_of(self, found: TerminologyResource, canonical: str) -> System:
        """The code system of a resource. Raises Unresolved where it cannot be read."""

        def make() -> System:
            try:
                return System(found.load())
            except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as e:
                raise Unresolved(f"the code system {canonical} cannot be read: {e}", "invalid") from e

        return _newest(self._systems, found, make)

    def parsed(self, found: TerminologyResource) -> Resource:
        """A concept map or naming system; they are looked through again and again."""
        return _newest(self._parsed, found, found.load)

    def core_definitions(self, url: str) -> Mapping[str, str]:
        return self._packaged.core_definitions(url)

    def kept(self, canonical: str, view: View) -> Compiled | None:
        """A value set compiled before, if what it was made of is still the same."""
        found = self._sets.peek(canonical)
        return found if found is not None and view.is_current(found) else None

    def keep(self, canonical: str, compiled: Compiled) -> None:
        self._sets.put(canonical, compiled)

    def set_elsewhere(self, canonical: str, reason: Unresolved) -> Part | None:
        """A value set that is not at hand, as another server knows it; None = there is no other server."""
        if self.remote is None:
            return None
        where = {"name": "url", "valueUri": canonical}
        return Elsewhere(self.remote, where, None, reason, frozenset())

    def part_elsewhere(self, part: Resource, reason: Unresolved, known: Set[str]) -> Part | None:
        """An include of a code system that is not at hand, as another server knows it."""
        if self.remote is None:
            return None
        include = {key: value for key, value in part.items() if key != "valueSet"}
        made = {"resourceType": "ValueSet", "status": "active", "compose": {"include": [include]}}
        return Elsewhere(self.remote, {"name": "valueSet", "resource": made}, part["system"], reason, known)


def _newest(kept: Recent[tuple[Hashable, _Value]], found: TerminologyResource, make: Callable[[], _Value]) -> _Value:
    """What was made of a resource, made anew when that has changed; of earlier states nothing is kept."""
    known = kept.peek(found.place)
    if known is None or known[0] != found.key:
        known = (found.key, make())
        kept.put(found.place, known)
    return known[1]
