"""The catalog: the definitions of R4 and of all packages, by canonical.

A canonical (https://hl7.org/fhir/R4/references.html#canonical) is "url" or "url|version". Without a version, the first
package of a plugin that defines the url takes precedence, then the latest version among the installed packages.
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
    """Immutable.

    packages: on construction those of plugins, which take precedence over the installed ones; afterwards all packages.
    installed: sorted by name, the latest version of each name first. contributing: the packages whose search parameters
    and profiles are added to the served ones; of an installed package its latest version only. problems: why resources
    of installed packages are left out. Raises StartupError, which names the file and the key, for a malformed
    SearchParameter of a plugin."""

    def __init__(self, core: Definitions, packages: Sequence[Package] = (), installed: Sequence[Package] = ()):
        self.core = core
        known = {p.label for p in packages}
        others = tuple(p for p in installed if p.label not in known)
        self.packages = (*packages, *others)
        self.contributing = _first_of_each_name(self.packages)
        self.problems = [text for p in others for text in p.problems.values()]
        self._installed = frozenset(p.label for p in others)
        self._files: dict[int, str] = {}
        self._package_of: dict[int, Package] = {}
        self._resources: dict[tuple[str, str], dict[str, Any]] = {}
        self._parameters: dict[str, SearchParameterDef] = {}
        self._core_parameters: dict[str, Mapping[str, SearchParameterDef]] = {}
        for package in packages:
            for resource in package.resources:
                self._add(package, resource)
        installed_resources = [(p, r) for p in others for r in p.resources]
        installed_resources.sort(
            key=lambda one: version_key(str(one[1].get("version") or one[0].version)), reverse=True
        )
        for package, resource in installed_resources:
            self._add(package, resource)

    def _add(self, package: Package, resource: dict[str, Any]) -> None:
        kind, url = resource["resourceType"], resource.get("url")
        self._package_of[id(resource)] = package
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
                text = f"{package.where.get((kind, url), package.name)}: {e}"
                if package.label not in self._installed:
                    raise StartupError(text) from e
                self.problems.append(text)
                return
            for canonical in canonicals:
                self._parameters.setdefault(canonical, definition)

    def search_parameter(self, canonical: str) -> SearchParameterDef | None:
        """The SearchParameter of a package or of R4, or None."""
        return self._parameters.get(canonical) or self.core.search_parameters().get(self._core_url(canonical))

    def search_parameters_for(self, resource_type: str) -> Mapping[str, SearchParameterDef]:
        """The search parameters of R4 for a resource type by code, including `_id`, `_tag` and the like."""
        found = self._core_parameters.get(resource_type)
        if found is None:
            bases = {b for b in (resource_type, "Resource", "DomainResource") if self.core.is_a(resource_type, b)}
            found = {p.code: p for p in self.core.search_parameters().values() if not bases.isdisjoint(p.bases)}
            self._core_parameters[resource_type] = found
        return found

    def resource(self, resource_type: str, canonical: str) -> dict[str, Any] | None:
        """A conformance resource of a package, or a profile or extension of R4, or None."""
        found = self._resources.get((resource_type, canonical))
        if found is None and resource_type == "StructureDefinition":
            found = self.core.profile(canonical)
        return found

    def with_version(self, resource: Mapping[str, Any], kind: str, canonical: str) -> str:
        """A canonical in a resource of a package, with the version that the package or one of its dependencies defines.

        resource: the object from the package, compared by identity. kind: the resource type that the canonical refers
        to. The canonical is unchanged if it has a version, if no such package defines it, or if each package is present
        in one version only."""
        package = self._package_of.get(id(resource))
        if package is None or "|" in canonical or len(self.contributing) == len(self.packages):
            return canonical
        for provider in self._with_dependencies(package):
            for one in provider.resources if (kind, canonical) in provider.where else ():
                if (one["resourceType"], one.get("url")) == (kind, canonical) and "version" in one:
                    return f"{canonical}|{one['version']}"
        return canonical

    def _with_dependencies(self, package: Package) -> list[Package]:
        """A package and its direct and indirect dependencies in their latest matching versions, the nearest first."""
        found, known = [package], {package.label}
        for one in found:  # the loop appends to it
            for name, pattern in one.dependencies.items():
                matching = [p for p in self.packages if p.name == name and satisfies(p.version, pattern)]
                best = max(matching, key=lambda p: version_key(p.version), default=None)
                if best is not None and best.label not in known:
                    found.append(best)
                    known.add(best.label)
        return found

    def is_installed(self, resource: Mapping[str, Any] | None) -> bool:
        """Whether a resource, compared by identity, is of an installed package and not of a plugin."""
        package = self._package_of.get(id(resource))
        return package is not None and package.label in self._installed

    def file(self, resource: Mapping[str, Any]) -> str | None:
        """The file of a resource of a package, compared by identity, for messages."""
        return self._files.get(id(resource))

    def has_structure(self, canonical: str) -> bool:
        """Whether a package or R4 defines this StructureDefinition (type, profile or extension)."""
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
