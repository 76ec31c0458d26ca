"""Compiles ValueSet resources: https://hl7.org/fhir/R4/valueset.html#compositions."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from fhirstore.model.messages import Message
from fhirstore.terminology.code_sets import (
    CodeSet,
    EnumeratedCodes,
    ExpansionEntry,
    GrammarCodes,
    Intersection,
    StoredExpansion,
    UnresolvedCodes,
    enumerated_concepts,
    filter_codes,
)
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.model import Resource, TerminologyResource, Unresolved
from fhirstore.terminology.remote import RemoteCodes, RemoteTerminology
from fhirstore.terminology.system_versions import ANY_VERSION, SystemVersions
from fhirstore.terminology.value_sets import ValueSet

MAX_IMPORTS = 1000
"""Imports that one value set may cause, counted along each path: two value sets that both import two make six."""

URN = re.compile(r"urn:oid:[0-9.]+|urn:uuid:[0-9a-f-]+")
_INVALID = (KeyError, TypeError, AttributeError, ValueError, RecursionError, re.error, msgspec.ValidationError)


class CompiledValueSet(NamedTuple):
    """dependencies: (type, canonical) -> key of every resource that was looked up for it, None = unavailable."""

    value_set: ValueSet
    dependencies: Mapping[tuple[str, str], Hashable]


class ResourceLookup(Protocol):
    """Where the compiler finds resources; see `service.TerminologySnapshot`."""

    def find(self, type: str, canonical: str) -> TerminologyResource | None: ...

    def code_system(self, canonical: str) -> CodeSystem | None: ...

    def unavailable_code_system(self, url: str, version: str) -> Unresolved: ...


class ValueSetCompiler:
    """Compiles one value set and records what it depends on. remote: another server for unavailable codes."""

    def __init__(
        self, lookup: ResourceLookup, remote: RemoteTerminology | None, versions: SystemVersions = ANY_VERSION
    ):
        self._lookup, self._remote, self._versions = lookup, remote, versions
        self._dependencies: dict[tuple[str, str], Hashable] = {}
        self._is_remote = False
        self._imports = 0

    def by_canonical(self, canonical: str) -> CompiledValueSet:
        """The value set of a canonical. If it is unavailable or invalid, its codes are unresolved."""
        value_set = self._resolve(canonical, ())
        value_set.is_remote = self._is_remote
        return CompiledValueSet(value_set, self._dependencies)

    def from_resource(self, resource: Resource) -> ValueSet:
        value_set = self._compile(str(resource.get("url", Message("of the request"))), resource, ())
        value_set.is_remote = self._is_remote
        return value_set

    def _resolve(self, canonical: str, importing: tuple[str, ...]) -> ValueSet:
        if canonical in importing:
            cycle = " → ".join((*importing[importing.index(canonical) :], canonical))
            text = Message("the value set {canonical} imports itself: {cycle}", canonical=canonical, cycle=cycle)
            return ValueSet.unresolved(canonical, Unresolved(text, "invalid"))
        self._imports += 1
        if self._imports > MAX_IMPORTS:
            text = Message(
                "the value set {canonical} was not read: the limit of {max_imports} imports is exceeded",
                canonical=canonical,
                max_imports=MAX_IMPORTS,
            )
            return ValueSet.unresolved(canonical, Unresolved(text, "too-costly"))
        found = self._find("ValueSet", canonical)
        if found is not None:
            return self._compile(canonical, found.load(), (*importing, canonical))
        reason = Unresolved(Message("the value set {canonical} is unavailable", canonical=canonical))
        if self._remote is None:
            return ValueSet.unresolved(canonical, reason)
        self._is_remote = True
        return ValueSet(canonical, [RemoteCodes.of_value_set(self._remote, canonical, reason)])

    def _compile(self, url: str, resource: Resource, importing: tuple[str, ...]) -> ValueSet:
        try:
            return self._compose(url, resource, importing)
        except _INVALID as e:
            reason = Unresolved(Message("the value set {url} is invalid: {reason}", url=url, reason=repr(e)), "invalid")
            return ValueSet.unresolved(url, reason, resource)

    def _compose(self, url: str, resource: Resource, importing: tuple[str, ...]) -> ValueSet:
        contains = resource.get("expansion", {}).get("contains")
        if "compose" not in resource:
            if not contains:
                reason = Unresolved(
                    Message("the value set {url} has neither compose nor expansion", url=url), "incomplete"
                )
                return ValueSet.unresolved(url, reason, resource)
            return ValueSet(url, [StoredExpansion(contains)], (), resource)
        compose = resource["compose"]
        included = [self._include(one, importing) for one in compose.get("include", ())]
        excluded = [self._include(one, importing) for one in compose.get("exclude", ())]
        composed = ValueSet(url, included, excluded, resource, without_inactive=compose.get("inactive") is False)
        if contains and _is_complete(resource["expansion"]) and not _are_resolved(included, excluded):
            return ValueSet(url, [StoredExpansion(contains)], (), resource)
        return composed

    def _include(self, include: Resource, importing: tuple[str, ...]) -> CodeSet:
        """The codes of an include or exclude: in its system *and* in all of its value sets."""
        sets: list[CodeSet] = []
        if "system" in include:
            sets.append(self._of_system(include))
        sets += [_ImportedValueSet(self._resolve(url, importing)) for url in include.get("valueSet", ())]
        if not sets:
            raise ValueError(Message("an include or exclude has neither system nor valueSet"))
        return sets[0] if len(sets) == 1 else Intersection(sets)

    def _of_system(self, include: Resource) -> CodeSet:
        url = include["system"]
        stated = include.get("version", "")
        try:
            code_system = self._code_system(url, self._versions.version_of(url, stated))
            if "concept" in include:
                return EnumeratedCodes(url, stated or None, enumerated_concepts(include), code_system)
            if code_system is not None and code_system.is_complete:
                return filter_codes(code_system, include.get("filter", ()))
        except Unresolved as reason:
            return UnresolvedCodes(url, reason)
        if url in GRAMMARS and "filter" not in include:
            return GrammarCodes(url)
        return self._of_incomplete_system(include, code_system)

    def _of_incomplete_system(self, include: Resource, code_system: CodeSystem | None) -> CodeSet:
        """The codes of a code system that is incomplete or, if None, unavailable."""
        url = include["system"]
        if code_system is None:
            version = self._versions.version_of(url, include.get("version", ""))
            reason = self._lookup.unavailable_code_system(url, version)
        else:
            text = Message(
                "the code system {url} is incomplete (content: {content})", url=url, content=code_system.content
            )
            reason = Unresolved(text, "incomplete")
        known = code_system.concepts.keys() if code_system is not None and "filter" not in include else frozenset()
        if self._remote is None:
            return UnresolvedCodes(url, reason, known)
        self._is_remote = True
        return RemoteCodes.of_include(self._remote, include, reason, known)

    def _code_system(self, url: str, version: str) -> CodeSystem | None:
        canonical = f"{url}|{version}" if version else url
        if self._find("CodeSystem", canonical) is None and URN.fullmatch(url):
            self._dependencies["NamingSystem", url] = object()  # never current, so naming systems are read again
        return self._lookup.code_system(canonical)

    def _find(self, type: str, canonical: str) -> TerminologyResource | None:
        found = self._lookup.find(type, canonical)
        self._dependencies[type, canonical] = resource_key(found)
        return found


class _ImportedValueSet:
    """A value set as a `CodeSet`."""

    def __init__(self, value_set: ValueSet):
        self.membership = value_set.membership
        self._value_set = value_set

    def entries(self) -> Iterator[ExpansionEntry]:
        return self._value_set.entries()


def resource_key(found: TerminologyResource | None) -> Hashable:
    """The key of a resource, None if it is unavailable."""
    return None if found is None else found.key


def _is_complete(expansion: Any) -> bool:
    """Whether an expansion is not a page of a larger one."""
    total = expansion.get("total")
    return not expansion.get("offset") and (total is None or total <= _count(expansion.get("contains", ())))


def _count(contains: Any) -> int:
    return sum(1 + _count(item.get("contains", ())) for item in contains)


def _are_resolved(*sets: list[CodeSet]) -> bool:
    return not any(isinstance(one, UnresolvedCodes | Intersection) for some in sets for one in some)
