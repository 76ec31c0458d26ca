"""What is known of terminology at one moment: code systems and value sets by canonical, compiled on first use.

https://hl7.org/fhir/R4/references.html#canonical: "url" or "url|version". Without a version, what is in the store
comes before what packages bring, and that before R4; in the store the newest version counts.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fhirstore.terminology.catalog import choose
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.members import (
    Both,
    Expanded,
    Listed,
    Members,
    Part,
    Unsure,
    Written,
    filtered,
    listed_concepts,
)
from fhirstore.terminology.model import Resource, TerminologyResource, Unresolved
from fhirstore.terminology.systems import System
from fhirstore.terminology.versions import ANY, Versions

if TYPE_CHECKING:
    from fhirstore.terminology.service import Terminology

MOST_IMPORTS = 1000
"""Ways by which a value set comes to what it imports, each counted: two sets that both import two make six."""
_OID = re.compile(r"urn:oid:[0-9.]+|urn:uuid:[0-9a-f-]+")
_UNREADABLE = (KeyError, TypeError, AttributeError, ValueError, RecursionError, re.error, msgspec.ValidationError)
MOST = 10_000
"""Names that a view remembers; beyond it starts anew, since requests can make up as many as they like."""


class Compiled(NamedTuple):
    """used: (type, canonical) -> key of every resource that was looked for to compile it, None = not at hand."""

    members: Members
    used: Mapping[tuple[str, str], Hashable]


class View:
    """The resources as they are while `marker` is what the store's source says. Threads may share it."""

    def __init__(self, terminology: Terminology, marker: Hashable):
        self.marker = marker
        self.terminology = terminology
        self._found: dict[tuple[str, str], TerminologyResource | None] = {}
        self._sets: dict[str, Members] = {}

    # --- resources

    def find(self, type: str, canonical: str) -> TerminologyResource | None:
        """The resource that a canonical means; None = not at hand."""
        key = (type, canonical)
        if key not in self._found:
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[key] = self._look(type, canonical)
        return self._found[key]

    def _look(self, type: str, canonical: str) -> TerminologyResource | None:
        url, _, version = canonical.partition("|")
        found = choose(self.terminology.candidates(type, url), version)
        if found is None and version:  # a url may hold a bar itself
            found = choose(self.terminology.candidates(type, canonical), "")
        return found

    def resource(self, type: str, canonical: str) -> Resource:
        """The resource. Raises Unresolved when it is not at hand."""
        found = self.find(type, canonical)
        if found is None:
            raise Unresolved(_MISSING[type].format(canonical))
        return self.terminology.parsed(found) if type in _LOOKED_THROUGH else found.load()

    def all(self, type: str) -> Iterator[Resource]:
        """All concept maps or naming systems that are at hand."""
        return (self.terminology.parsed(found) for found in self.terminology.all(type))

    # --- code systems

    def system(self, canonical: str) -> System | None:
        """A code system that is at hand. Raises Unresolved where it cannot be read."""
        found = self.find("CodeSystem", canonical) or self._by_identifier(canonical)
        return None if found is None else self.terminology.system_of(found, canonical)

    def known_system(self, url: str, version: str | None = None) -> System:
        """A code system. Raises Unresolved when it is not at hand, or not in this version."""
        canonical = f"{url}|{version}" if version else url
        found = self.system(canonical)
        if found is None:
            raise Unresolved(self.missing(url, version or ""))
        return found

    def read_system(self, resource: Resource) -> System:
        """A code system that is given. Raises Unresolved where it cannot be read."""
        try:
            return System(resource)
        except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as e:
            raise Unresolved(f"the code system cannot be read: {e}", "invalid") from e

    def missing(self, url: str, version: str) -> str:
        """The words that a code system is not at hand."""
        if version and (other := self.find("CodeSystem", url)) is not None:
            at_hand = f"version {other.version} is" if other.version else "one without a version is"
            return f"the code system {url}|{version} is not at hand ({at_hand})"
        return f"the code system {url}{'|' + version if version else ''} is not at hand"

    def _by_identifier(self, canonical: str) -> TerminologyResource | None:
        """A code system by what a NamingSystem says is the same (https://hl7.org/fhir/R4/namingsystem.html)."""
        url, _, version = canonical.partition("|")
        if not _OID.fullmatch(url):
            return None
        preferred = self.preferred_url(url)
        return self.find("CodeSystem", f"{preferred}|{version}" if version else preferred) if preferred else None

    def preferred_url(self, identifier: str) -> str | None:
        """The url that a NamingSystem gives for an OID or UUID."""
        bare = identifier.rpartition(":")[2]
        for naming in self.all("NamingSystem"):
            ids = [i for i in naming.get("uniqueId", ()) if isinstance(i, dict)]
            if any(i.get("type") in ("oid", "uuid") and str(i.get("value")).rpartition(":")[2] == bare for i in ids):
                urls = [i for i in ids if i.get("type") == "uri" and isinstance(i.get("value"), str)]
                best = next((i for i in urls if i.get("preferred") is True), urls[0] if urls else None)
                if best is not None:
                    return str(best["value"])
        return None

    def definitions(self, system: System) -> Mapping[str, str]:
        """The definitions of the concepts of a code system of R4, which stand apart; of another, none."""
        found = self.find("CodeSystem", system.canonical)
        is_core = found is not None and isinstance(found.key, tuple) and found.key[0] == "r4"
        return self.terminology.core_definitions(system.url) if is_core else {}

    # --- value sets

    def members(self, canonical: str) -> Members:
        """A compiled value set; of one that is not at hand, or that cannot be read, it is unsure what is in it."""
        found = self._sets.get(canonical)
        if found is None:
            compiled = self.terminology.kept(canonical, self) or Compiler(self, ANY).named(canonical)
            self.terminology.keep(canonical, compiled)
            if len(self._sets) >= MOST:
                self._sets.clear()
            found = self._sets[canonical] = compiled.members
        return found

    def compile(self, resource: Resource, versions: Versions = ANY) -> Members:
        """A value set that is given, with the versions of code systems that are wanted."""
        return Compiler(self, versions).given(resource)

    def is_current(self, compiled: Compiled) -> bool:
        """Whether all that was looked for to compile it is still the same."""
        return all(_key(self.find(*name)) == key for name, key in compiled.used.items())


class Compiler:
    """Compiles one value set; notes what it looks for."""

    def __init__(self, view: View, versions: Versions):
        self._view, self._versions = view, versions
        self._used: dict[tuple[str, str], Hashable] = {}
        self._elsewhere = False
        self._imports = 0

    def named(self, canonical: str) -> Compiled:
        members = self._named(canonical, ())
        members.is_elsewhere = self._elsewhere
        return Compiled(members, self._used)

    def given(self, resource: Resource) -> Members:
        members = self._read(str(resource.get("url", "that is given")), resource, ())
        members.is_elsewhere = self._elsewhere
        return members

    def _named(self, canonical: str, inside: tuple[str, ...]) -> Members:
        if canonical in inside:
            way = " → ".join((*inside[inside.index(canonical) :], canonical))
            return _unsure(canonical, Unresolved(f"the value set {canonical} imports itself: {way}", "invalid"))
        self._imports += 1
        if self._imports > MOST_IMPORTS:
            text = f"the value set {canonical} is not looked at: with it, more than {MOST_IMPORTS} are imported in all"
            return _unsure(canonical, Unresolved(text, "too-costly"))
        found = self._find("ValueSet", canonical)
        if found is None:
            reason = Unresolved(f"the value set {canonical} is not at hand")
            elsewhere = self._view.terminology.set_elsewhere(canonical, reason)
            self._elsewhere |= elsewhere is not None
            return Members(canonical, [elsewhere]) if elsewhere else _unsure(canonical, reason)
        return self._read(canonical, found.load(), (*inside, canonical))

    def _read(self, url: str, resource: Resource, inside: tuple[str, ...]) -> Members:
        try:
            return self._members(url, resource, inside)
        except _UNREADABLE as e:
            text = f"the value set {url} cannot be read: {e!r}"
            return _unsure(url, Unresolved(text, "invalid"), resource)

    def _members(self, url: str, resource: Resource, inside: tuple[str, ...]) -> Members:
        contains = resource.get("expansion", {}).get("contains")
        if "compose" not in resource:
            if not contains:
                return _unsure(url, Unresolved(f"the value set {url} says not what it holds", "incomplete"), resource)
            return Members(url, [Expanded(contains)], (), resource)
        compose = resource["compose"]
        included = [self._part(part, inside) for part in compose.get("include", ())]
        excluded = [self._part(part, inside) for part in compose.get("exclude", ())]
        whole = Members(url, included, excluded, resource, without_inactive=compose.get("inactive") is False)
        if contains and _is_whole(resource["expansion"]) and not _can_be_listed(included, excluded):
            return Members(url, [Expanded(contains)], (), resource)
        return whole

    def _part(self, part: Resource, inside: tuple[str, ...]) -> Part:
        """One include or exclude: in its system *and* in all its value sets."""
        parts: list[Part] = []
        if "system" in part:
            parts.append(self._of_system(part))
        parts += [_AsPart(self._named(url, inside)) for url in part.get("valueSet", ())]
        if not parts:
            raise ValueError("an include or exclude names neither a system nor a value set")
        return parts[0] if len(parts) == 1 else Both(parts)

    def _of_system(self, part: Resource) -> Part:
        url = part["system"]
        named = part.get("version", "")
        try:
            home = self._system(url, self._versions.of(url, named))
            if "concept" in part:
                return Listed(url, named or None, listed_concepts(part), home)
            if home is not None and home.is_complete:
                return filtered(home, part.get("filter", ()))
        except Unresolved as reason:
            return Unsure(url, reason)
        if url in GRAMMARS and "filter" not in part:
            return Written(url)
        return self._partly(part, home)

    def _partly(self, part: Resource, home: System | None) -> Part:
        """Of a system that is not at hand, or not complete."""
        url = part["system"]
        if home is None:
            reason = Unresolved(self._view.missing(url, self._versions.of(url, part.get("version", ""))))
        else:
            reason = Unresolved(
                f"the code system {url} is at hand only as {home.content!r}, not complete", "incomplete"
            )
        known = home.concepts.keys() if home is not None and "filter" not in part else frozenset()
        elsewhere = self._view.terminology.part_elsewhere(part, reason, known)
        self._elsewhere |= elsewhere is not None
        return elsewhere or Unsure(url, reason, known)

    def _system(self, url: str, version: str) -> System | None:
        canonical = f"{url}|{version}" if version else url
        if self._find("CodeSystem", canonical) is None and _OID.fullmatch(url):
            self._used["NamingSystem", url] = object()  # what naming systems say is looked up again
        return self._view.system(canonical)

    def _find(self, type: str, canonical: str) -> TerminologyResource | None:
        found = self._view.find(type, canonical)
        self._used[type, canonical] = _key(found)
        return found


class _AsPart:
    """An imported value set."""

    def __init__(self, members: Members):
        self.test = members.test
        self.entries = members.entries


_LOOKED_THROUGH = ("ConceptMap", "NamingSystem")
_MISSING = {
    "CodeSystem": "the code system {0} is not at hand",
    "ValueSet": "the value set {0} is not at hand",
    "ConceptMap": "the concept map {0} is not at hand",
    "NamingSystem": "the naming system {0} is not at hand",
}


def _key(found: TerminologyResource | None) -> Hashable:
    return None if found is None else found.key


def _unsure(url: str, reason: Unresolved, resource: Resource | None = None) -> Members:
    return Members(url, [Unsure(None, reason)], (), resource)


def _is_whole(expansion: Any) -> bool:
    """Whether an expansion is not one page of several."""
    total = expansion.get("total")
    return not expansion.get("offset") and (total is None or total <= _count(expansion.get("contains", ())))


def _count(contains: Any) -> int:
    return sum(1 + _count(item.get("contains", ())) for item in contains)


def _can_be_listed(*parts: list[Part]) -> bool:
    return not any(isinstance(part, Unsure | Both) for some in parts for part in some)
