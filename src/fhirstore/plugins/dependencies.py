"""https://hl7.org/fhir/packages: the packages of all plugins together, and what they depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError

CORE = ("hl7.fhir.r4.core", "hl7.fhir.core")
CORE_VERSION = "4.0.1"
ANY_VERSION = ("current", "dev", "latest")


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


def check_dependencies(packages: Sequence[Package]) -> None:
    """Every dependency is the R4 core or a loaded package. Raises StartupError with names and versions."""
    loaded = {package.name: package.version for package in packages} | dict.fromkeys(CORE, CORE_VERSION)
    for package in packages:
        for name, wanted in package.dependencies.items():
            found = loaded.get(name)
            if found is None or not _satisfies(found, wanted):
                state = "is not loaded" if found is None else f"is loaded in version {found}"
                raise StartupError(
                    f"package {package.name} {package.version} depends on {name} {wanted}, which {state}; "
                    "load that package too (--plugin FOLDER), or take it out of `dependencies` in package.json "
                    "when nothing of it is used."
                )


def _satisfies(version: str, wanted: str) -> bool:
    """`wanted` is a version, or has x for the parts that do not matter (4.0.x), or is `latest` and the like."""
    if wanted in ANY_VERSION:
        return True
    parts, found = wanted.split("."), version.split(".")
    if parts[-1] in ("x", "*"):
        return found[: len(parts) - 1] == parts[:-1]
    return parts == found
