"""The catalog: the R4 core definitions plus those of the installed packages, found by canonical.

A canonical (https://hl7.org/fhir/R4/references.html#canonical) is "url" or "url|version"; with a version only that
version is found. Without one the packages that plugins bring decide, the first that defines the url; else, of all
installed packages, the one that defines its latest version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Package, SearchParameterDef
from fhirstore.definitions.parameters import read_search_parameter
from fhirstore.definitions.versions import satisfies, version_key
from fhirstore.errors import StartupError


class Catalog:
    """Immutable once built. packages: all at hand; they come before core, and those that plugins bring, in the given
    order, before the installed ones. contributing: those whose search parameters and profiles are added to what is served;
    of an installed package its latest version only.

    installed: by name, of each name the latest version first. Raises StartupError, which names the file and the key,
    for a SearchParameter that cannot be read."""

    def __init__(self, core: Definitions, packages: Sequence[Package] = (), installed: Sequence[Package] = ()):
        self.core = core
        known = {p.label for p in packages}
        further = tuple(p for p in installed if p.label not in known)
        self.packages = (*packages, *further)
        self.contributing = _first_of_each_name(self.packages)
        self._files: dict[int, str] = {}
        self._homes: dict[int, Package] = {}
        self._resources: dict[tuple[str, str], dict[str, Any]] = {}
        self._parameters: dict[str, SearchParameterDef] = {}
        self._core_parameters: dict[str, Mapping[str, SearchParameterDef]] = {}
        for package in packages:
            for resource in package.resources:
                self._add(package, resource)
        later = [(p, r) for p in further for r in p.resources]
        later.sort(key=lambda one: version_key(str(one[1].get("version") or one[0].version)), reverse=True)
        for package, resource in later:
            self._add(package, resource)

    def _add(self, package: Package, resource: dict[str, Any]) -> None:
        kind, url = resource["resourceType"], resource.get("url")
        self._homes[id(resource)] = package
        if file := package.where.get((kind, url or resource.get("id", ""))):
            self._files[id(resource)] = file
        if url is None:
            return
        canonicals = [url, f"{url}|{resource['version']}"] if "version" in resource else [url]
        for canonical in canonicals:
            self._resources.setdefault((kind, canonical), resource)
        if kind == "SearchParameter":
            try:
                definition = read_search_parameter(resource)
            except ValueError as e:
                raise StartupError(f"{package.where.get((kind, url), package.name)}: {e}") from e
            for canonical in canonicals:
                self._parameters.setdefault(canonical, definition)

    def search_parameter(self, canonical: str) -> SearchParameterDef | None:
        """The SearchParameter of a package or of R4 itself; None when nothing defines it."""
        return self._parameters.get(canonical) or self.core.search_parameters().get(self._core_url(canonical))

    def search_parameters_for(self, resource_type: str) -> Mapping[str, SearchParameterDef]:
        """R4's own search parameters for a resource type by code, with those of all resources (`_id`, `_tag`…)."""
        found = self._core_parameters.get(resource_type)
        if found is None:
            bases = {b for b in (resource_type, "Resource", "DomainResource") if self.core.is_a(resource_type, b)}
            found = {p.code: p for p in self.core.search_parameters().values() if not bases.isdisjoint(p.bases)}
            self._core_parameters[resource_type] = found
        return found

    def resource(self, resource_type: str, canonical: str) -> dict[str, Any] | None:
        """A conformance resource of a package, or None."""
        return self._resources.get((resource_type, canonical))

    def meant(self, resource: Mapping[str, Any], kind: str, canonical: str) -> str:
        """A canonical that a package's resource (this very object) names without version, with the version that its
        package, or one that this depends on, defines; as it is where none does, or none is there in several versions.

        kind: the resource type of what is named."""
        home = self._homes.get(id(resource))
        if home is None or "|" in canonical or len(self.contributing) == len(self.packages):
            return canonical
        for package in self._closure(home):
            for one in package.resources if (kind, canonical) in package.where else ():
                if (one["resourceType"], one.get("url")) == (kind, canonical) and "version" in one:
                    return f"{canonical}|{one['version']}"
        return canonical

    def _closure(self, home: Package) -> list[Package]:
        """A package and all that it depends on, in the latest versions that do, those nearest to it first."""
        found, known = [home], {home.label}
        for package in found:  # grows meanwhile
            for name, wanted in package.dependencies.items():
                fits = [p for p in self.packages if p.name == name and satisfies(p.version, wanted)]
                best = max(fits, key=lambda p: version_key(p.version), default=None)
                if best is not None and best.label not in known:
                    found.append(best)
                    known.add(best.label)
        return found

    def file(self, resource: Mapping[str, Any]) -> str | None:
        """The file that a package's resource (this very object) came from, for messages."""
        return self._files.get(id(resource))

    def has_structure(self, canonical: str) -> bool:
        """Whether a package or R4 itself defines this StructureDefinition (type, profile or extension)."""
        return ("StructureDefinition", canonical) in self._resources or self._core_url(
            canonical
        ) in self.core.canonicals

    def _core_url(self, canonical: str) -> str:
        return canonical.removesuffix("|" + self.core.version)


def _first_of_each_name(packages: Sequence[Package]) -> tuple[Package, ...]:
    first: dict[str, Package] = {}
    for package in packages:
        first.setdefault(package.name, package)
    return tuple(first.values())
