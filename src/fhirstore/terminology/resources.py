"""The terminology resources of the store, of packages and of R4, and caches of what was parsed or compiled of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import chain
from typing import TypeVar

import msgspec

from fhirstore.model.messages import Message
from fhirstore.terminology.cache import SharedCache
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.model import Resource, TerminologyResource, TerminologySource, Unresolved
from fhirstore.terminology.packaged import PackagedTerminology

CACHED_CODE_SYSTEMS = 2_000
CACHED_RESOURCES = 1_000
"""R4 has about 1 000 code systems; concept maps and naming systems are fewer."""

_Value = TypeVar("_Value")


class TerminologyResources:
    """Threads share it. Resources of the source come first, then those of packages and of R4."""

    def __init__(self, source: TerminologySource, packaged: PackagedTerminology):
        self._source, self._packaged = source, packaged
        self._code_systems: SharedCache[tuple[Hashable, CodeSystem]] = SharedCache(CACHED_CODE_SYSTEMS)
        self._parsed: SharedCache[tuple[Hashable, Resource]] = SharedCache(CACHED_RESOURCES)

    def find(self, type: str, url: str) -> Iterator[TerminologyResource]:
        """All resources of this type with this url, in order of precedence."""
        return chain(self._source.find(type, url), self._packaged.find(type, url))

    def all(self, type: str) -> Iterator[TerminologyResource]:
        """All resources of this type, in order of precedence."""
        return chain(self._source.all(type), self._packaged.all(type))

    def supplements(self) -> Iterator[TerminologyResource]:
        """The CodeSystems with the content supplement."""
        return chain(self._source.supplements(), self._packaged.supplements())

    def code_system(self, found: TerminologyResource, canonical: str) -> CodeSystem:
        """The compiled code system of a resource. canonical: for messages. Raises Unresolved if it is invalid."""
        return _cached(self._code_systems, found, lambda: compile_code_system(found.load(), f" {canonical}"))

    def parsed(self, found: TerminologyResource) -> Resource:
        """A parsed concept map or naming system. They are cached because requests scan all of them."""
        return _cached(self._parsed, found, found.load)

    def core_definitions(self, url: str) -> Mapping[str, str]:
        """See `Definitions.concept_definitions`."""
        return self._packaged.core_definitions(url)

    def cached_code_systems(self) -> list[CodeSystem]:
        return [code_system for _, code_system in self._code_systems.values()]


def compile_code_system(resource: Resource, label: str = "") -> CodeSystem:
    """Raises Unresolved if the resource is invalid. label: added to "the code system" in the message."""
    try:
        return CodeSystem(resource)
    except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as e:
        raise Unresolved(
            Message("the code system{label} is invalid: {reason}", label=label, reason=e), "invalid"
        ) from e


def _cached(
    cache: SharedCache[tuple[Hashable, _Value]], found: TerminologyResource, make: Callable[[], _Value]
) -> _Value:
    """The cached value of a resource. A changed resource replaces the value of its earlier state."""
    cached = cache.peek(found.place)
    if cached is None or cached[0] != found.key:
        cached = (found.key, make())
        cache.put(found.place, cached)
    return cached[1]
