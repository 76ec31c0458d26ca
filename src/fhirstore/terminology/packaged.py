"""The terminology resources of packages and of R4, by url."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import Definitions
from fhirstore.terminology.model import TERMINOLOGY_TYPES, Resource, TerminologyResource


class PackagedTerminology:
    """Immutable. Packages come first, in their order, then R4."""

    def __init__(self, catalog: Catalog):
        self._core = catalog.core
        self._by_url: dict[tuple[str, str], list[TerminologyResource]] = {}
        self._by_type: dict[str, list[TerminologyResource]] = {}
        implied: dict[str, list[TerminologyResource]] = {}
        for resource in (r for package in catalog.packages for r in package.resources):
            kind, url = resource["resourceType"], resource.get("url")
            if kind not in TERMINOLOGY_TYPES:
                continue
            found = _in_memory(resource, id(resource))
            self._by_type.setdefault(kind, []).append(found)
            if isinstance(url, str):
                self._by_url.setdefault((kind, url), []).append(found)
            if kind == "CodeSystem" and isinstance(url, str) and isinstance(resource.get("valueSet"), str):
                value_set = all_codes(resource)
                implied.setdefault(resource["valueSet"], []).append(_in_memory(value_set, id(value_set)))
        for url, value_sets in implied.items():
            self._by_url.setdefault(("ValueSet", url), value_sets)

    def find(self, type: str, url: str) -> list[TerminologyResource]:
        """All resources of this type with this url."""
        found = self._by_url.get((type, url), [])
        resource = core_resource(self._core, type, url)
        if resource is None:
            return found
        core = _in_memory(resource, ("r4", type, url))
        # R4 refers to its own resources by the version of FHIR, even if they state another one.
        return [*found, core, replace(core, version=self._core.version)]

    def supplements(self) -> list[TerminologyResource]:
        """The CodeSystems of packages with the content supplement. R4 has none."""
        return [found for found in self._by_type.get("CodeSystem", ()) if found.content == "supplement"]

    def core_definitions(self, url: str) -> Mapping[str, str]:
        """See `Definitions.concept_definitions`."""
        return self._core.concept_definitions(url)

    def all(self, type: str) -> Iterator[TerminologyResource]:
        """All resources of this type of packages, and the concept maps of R4."""
        yield from self._by_type.get(type, ())
        if type == "ConceptMap":
            yield from (_in_memory(r, ("r4", type, url)) for url, r in self._core.concept_maps().items())


def _in_memory(resource: Resource, key: object) -> TerminologyResource:
    return TerminologyResource(key, key, _text(resource, "version"), _text(resource, "content"), lambda: resource)


def all_codes(code_system: Resource) -> Resource:
    """The value set of all codes, whose url is CodeSystem.valueSet."""
    return {
        "resourceType": "ValueSet",
        "url": code_system["valueSet"],
        "status": code_system.get("status", "unknown"),
        **{key: code_system[key] for key in ("version", "name", "title") if key in code_system},
        "compose": {"include": [{"system": code_system["url"]}]},
    }


def core_resource(core: Definitions, type: str, url: str) -> Resource | None:
    """The terminology resource of R4 with this url, or None."""
    if type == "CodeSystem":
        return core.code_system(url)
    if type == "ValueSet":
        return core.value_set(url)
    return core.concept_maps().get(url) if type == "ConceptMap" else None


def select_version(candidates: Iterable[TerminologyResource], version: str) -> TerminologyResource | None:
    """The first complete resource of this version, else the first of this version. version: "" means any.

    Supplements (https://hl7.org/fhir/R4/codesystem.html#supplements) are never selected."""
    matching = [c for c in candidates if version in ("", c.version) and c.content != "supplement"]
    return next((c for c in matching if c.content in ("complete", "")), matching[0] if matching else None)


def _text(resource: Resource, key: str) -> str:
    value = resource.get(key)
    return value if isinstance(value, str) else ""
