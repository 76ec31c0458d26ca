"""https://hl7.org/fhir/packages.html: the packages of all plugins together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError


def unite(by_plugin: Mapping[str, Sequence[Package]]) -> tuple[Package, ...]:
    """The packages of all plugins, each once. Raises StartupError when one comes in two versions."""
    first: dict[str, tuple[Package, str]] = {}
    for plugin, packages in by_plugin.items():
        for package in packages:
            known, owner = first.setdefault(package.name, (package, plugin))
            if known.version != package.version:
                raise StartupError(
                    f"package {package.name}: plugin {owner} brings version {known.version}, "
                    f"plugin {plugin} brings {package.version}; load only one of them."
                )
    return tuple(package for package, _ in first.values())
