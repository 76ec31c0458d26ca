"""The entry point to terminology, and its resources at one moment: code systems and value sets by canonical.

https://hl7.org/fhir/R4/references.html#canonical: "url" or "url|version". Without a version, resources of the store
take precedence over those of packages, and these over those of R4. In the store the newest version takes precedence.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

from fhirstore.definitions.catalog import Catalog
from fhirstore.model.messages import Message
from fhirstore.terminology.cache import SharedCache
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.compiler import URN, CompiledValueSet, ValueSetCompiler, resource_key
from fhirstore.terminology.expansion import Expansion
from fhirstore.terminology.model import EmptySource, Resource, TerminologyResource, TerminologySource, Unresolved
from fhirstore.terminology.packaged import PackagedTerminology, select_version
from fhirstore.terminology.remote import RemoteTerminology
from fhirstore.terminology.resources import TerminologyResources, compile_code_system
from fhirstore.terminology.supplements import Supplements
from fhirstore.terminology.system_versions import ANY_VERSION, SystemVersions
from fhirstore.terminology.value_sets import ValueSet

CACHED_VALUE_SETS = 4_000
"""Compiled value sets; R4 has about 1 300."""
CACHED_EXPANSIONS = 8
"""Enumerated value sets; paging reads them repeatedly."""
MAX_NAMES = 10_000
"""Canonicals that a snapshot remembers. It clears them when the limit is reached: requests can invent any number."""

_SCANNED_TYPES = ("ConceptMap", "NamingSystem")


class Terminology:
    """One per process, created before it forks; threads share it.

    source: resources in addition to those of the catalog. remote: another server for unavailable codes.

    Every request starts with `current`, which compares the marker of the source. A write acknowledged by any process is
    therefore visible to the next request."""

    def __init__(
        self, catalog: Catalog, source: TerminologySource | None = None, remote: RemoteTerminology | None = None
    ):
        self.remote = remote
        source = source or EmptySource()
        self._marker = source.marker
        self._resources = TerminologyResources(source, PackagedTerminology(catalog))
        self._compiled: SharedCache[CompiledValueSet] = SharedCache(CACHED_VALUE_SETS)
        self._expansions: SharedCache[Expansion] = SharedCache(CACHED_EXPANSIONS)
        self._snapshot = TerminologySnapshot(self._resources, self._compiled, remote, None)

    def current(self) -> TerminologySnapshot:
        """The current snapshot. Use it for one request or one validation, not longer."""
        marker = self._marker()
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


class TerminologySnapshot:
    """The resources while `marker` is the marker of the source. Threads may share it.

    compiled: the value sets that earlier snapshots compiled, by canonical. remote: another server for unavailable
    codes."""

    def __init__(
        self,
        resources: TerminologyResources,
        compiled: SharedCache[CompiledValueSet],
        remote: RemoteTerminology | None,
        marker: Hashable,
    ):
        self.marker = marker
        self._resources, self._compiled, self._remote = resources, compiled, remote
        self._found: dict[tuple[str, str], TerminologyResource | None] = {}
        self._value_sets: dict[str, ValueSet] = {}
        self._supplements: Supplements | None = None
        self._knows_supplements = False

    # --- resources

    def find(self, type: str, canonical: str) -> TerminologyResource | None:
        """The resource that a canonical refers to; None if it is unavailable."""
        key = (type, canonical)
        if key not in self._found:
            if len(self._found) >= MAX_NAMES:
                self._found.clear()
            self._found[key] = self._select(type, canonical)
        return self._found[key]

    def _select(self, type: str, canonical: str) -> TerminologyResource | None:
        url, _, version = canonical.partition("|")
        found = select_version(self._resources.find(type, url), version)
        if found is None and version:  # a url may contain a bar
            found = select_version(self._resources.find(type, canonical), "")
        return found

    def concept_map(self, canonical: str) -> Resource:
        """The ConceptMap. Raises Unresolved if it is unavailable."""
        found = self.find("ConceptMap", canonical)
        if found is None:
            raise Unresolved(Message("the concept map {canonical} is unavailable", canonical=canonical))
        return self._resources.parsed(found)

    def all(self, type: str) -> Iterator[Resource]:
        """All available resources of this type: ConceptMap or NamingSystem."""
        assert type in _SCANNED_TYPES
        return (self._resources.parsed(found) for found in self._resources.all(type))

    # --- code systems

    def code_system(self, canonical: str) -> CodeSystem | None:
        """The code system; None if it is unavailable. Raises Unresolved if it is invalid."""
        found = self.find("CodeSystem", canonical) or self._by_identifier(canonical)
        return None if found is None else self._resources.code_system(found, canonical)

    def require_code_system(self, url: str, version: str | None = None) -> CodeSystem:
        """The code system. Raises Unresolved if it is invalid, or unavailable in this version."""
        canonical = f"{url}|{version}" if version else url
        found = self.code_system(canonical)
        if found is None:
            raise self.unavailable_code_system(url, version or "")
        return found

    def compile_code_system(self, resource: Resource) -> CodeSystem:
        """A code system from the request. Raises Unresolved if it is invalid."""
        return compile_code_system(resource)

    def unavailable_code_system(self, url: str, version: str) -> Unresolved:
        """The error that names the code system, and the version that is available instead."""
        if not version:
            return Unresolved(Message("the code system {url} is unavailable", url=url))
        other = self.find("CodeSystem", url)
        if other is None:
            return Unresolved(Message("the code system {url}|{version} is unavailable", url=url, version=version))
        available = (
            Message("version {version}", version=other.version) if other.version else Message("one without a version")
        )
        return Unresolved(
            Message(
                "the code system {url}|{version} is unavailable (available: {available})",
                url=url,
                version=version,
                available=available,
            )
        )

    def _by_identifier(self, canonical: str) -> TerminologyResource | None:
        """A code system by an OID or UUID of a NamingSystem: https://hl7.org/fhir/R4/namingsystem.html."""
        url, _, version = canonical.partition("|")
        if not URN.fullmatch(url):
            return None
        preferred = self.preferred_url(url)
        return self.find("CodeSystem", f"{preferred}|{version}" if version else preferred) if preferred else None

    def preferred_url(self, identifier: str) -> str | None:
        """The url that a NamingSystem states for an OID or UUID, or None."""
        bare = identifier.rpartition(":")[2]
        for naming in self.all("NamingSystem"):
            ids = [i for i in naming.get("uniqueId", ()) if isinstance(i, dict)]
            if any(i.get("type") in ("oid", "uuid") and str(i.get("value")).rpartition(":")[2] == bare for i in ids):
                urls = [i for i in ids if i.get("type") == "uri" and isinstance(i.get("value"), str)]
                best = next((i for i in urls if i.get("preferred") is True), urls[0] if urls else None)
                if best is not None:
                    return str(best["value"])
        return None

    def concept_definitions(self, code_system: CodeSystem) -> Mapping[str, str]:
        """The definitions of concepts by code, which R4's tables store apart; empty for other code systems."""
        found = self.find("CodeSystem", code_system.canonical)
        is_core = found is not None and isinstance(found.key, tuple) and found.key[0] == "r4"
        return self._resources.core_definitions(code_system.url) if is_core else {}

    def supplements(self) -> Supplements | None:
        """The supplements of code systems; None if there are none."""
        if not self._knows_supplements:
            found = list(self._resources.supplements())
            self._supplements = Supplements(found, self.code_system) if found else None
            self._knows_supplements = True
        return self._supplements

    # --- value sets

    def value_set(self, canonical: str) -> ValueSet:
        """The compiled value set. If it is unavailable or invalid, its codes are unresolved."""
        found = self._value_sets.get(canonical)
        if found is None:
            compiled = self._compiled.peek(canonical)
            if compiled is None or not self._is_current(compiled):
                compiled = ValueSetCompiler(self, self._remote).by_canonical(canonical)
                self._compiled.put(canonical, compiled)
            if len(self._value_sets) >= MAX_NAMES:
                self._value_sets.clear()
            found = self._value_sets[canonical] = compiled.value_set
        return found

    def compile_value_set(self, resource: Resource, versions: SystemVersions = ANY_VERSION) -> ValueSet:
        """A value set from the request, or with versions of code systems that the request asks for."""
        return ValueSetCompiler(self, self._remote, versions).from_resource(resource)

    def _is_current(self, compiled: CompiledValueSet) -> bool:
        return all(resource_key(self.find(*name)) == key for name, key in compiled.dependencies.items())
