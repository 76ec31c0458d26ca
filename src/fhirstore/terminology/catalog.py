"""The terminology of packages and of R4 itself, by url."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import Definitions
from fhirstore.terminology.model import Resource, TerminologyResource

TYPES = frozenset({"CodeSystem", "ValueSet", "ConceptMap", "NamingSystem"})
"""The resource types of this room."""


class Packaged:
    """Immutable. The packages come first, in their order, then R4."""

    def __init__(self, catalog: Catalog):
        self._core = catalog.core
        self._found: dict[tuple[str, str], list[TerminologyResource]] = {}
        self._all: dict[str, list[TerminologyResource]] = {}
        implied: dict[str, list[TerminologyResource]] = {}
        for resource in (r for package in catalog.packages for r in package.resources):
            kind, url = resource["resourceType"], resource.get("url")
            if kind not in TYPES:
                continue
            found = at_hand(resource, id(resource))
            self._all.setdefault(kind, []).append(found)
            if isinstance(url, str):
                self._found.setdefault((kind, url), []).append(found)
            if kind == "CodeSystem" and isinstance(url, str) and isinstance(resource.get("valueSet"), str):
                whole = all_codes(resource)
                implied.setdefault(resource["valueSet"], []).append(at_hand(whole, id(whole)))
        for url, sets in implied.items():
            self._found.setdefault(("ValueSet", url), sets)

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        """All of this type with this url."""
        found = self._found.get((type, url), [])
        own = core_resource(self._core, type, url)
        if own is None:
            return found
        first = at_hand(own, ("r4", type, url))
        # R4 names all that it brings by its own version, whatever version that has itself
        return [*found, first, replace(first, version=self._core.version)]

    def core_definitions(self, url: str) -> Mapping[str, str]:
        return self._core.concept_definitions(url)

    def all(self, type: str) -> Iterator[TerminologyResource]:
        """All of this type, of packages and of R4."""
        yield from self._all.get(type, ())
        if type == "ConceptMap":
            yield from (at_hand(r, ("r4", type, url)) for url, r in self._core.concept_maps().items())


def at_hand(resource: Resource, key: object) -> TerminologyResource:
    return TerminologyResource(key, key, _text(resource, "version"), _text(resource, "content"), lambda: resource)


def all_codes(code_system: Resource) -> Resource:
    """The value set of all codes that CodeSystem.valueSet names."""
    return {
        "resourceType": "ValueSet",
        "url": code_system["valueSet"],
        "status": code_system.get("status", "unknown"),
        **{key: code_system[key] for key in ("version", "name", "title") if key in code_system},
        "compose": {"include": [{"system": code_system["url"]}]},
    }


def core_resource(core: Definitions, type: str, url: str) -> Resource | None:
    """A terminology resource of R4 by its url."""
    if type == "CodeSystem":
        return core.code_system(url)
    if type == "ValueSet":
        return core.value_set(url)
    return core.concept_maps().get(url) if type == "ConceptMap" else None


def choose(found: Iterable[TerminologyResource], version: str) -> TerminologyResource | None:
    """The one that a canonical means: of this version ("" = any), the first that is complete, else the first.

    A supplement (https://hl7.org/fhir/R4/codesystem.html#supplements) is never the code system itself."""
    fitting = [f for f in found if version in ("", f.version) and f.content != "supplement"]
    return next((f for f in fitting if f.content in ("complete", "")), fitting[0] if fitting else None)


def _text(resource: Resource, key: str) -> str:
    value = resource.get(key)
    return value if isinstance(value, str) else ""
