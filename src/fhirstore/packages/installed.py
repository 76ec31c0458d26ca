"""The installed packages that a process uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import PackageLimits
from fhirstore.errors import StartupError
from fhirstore.packages import dependencies
from fhirstore.packages.folder import PackageFolder
from fhirstore.packages.names import parse_package_request
from fhirstore.settings import Settings


@dataclass(frozen=True, slots=True)
class InstalledPackages:
    """packages: sorted by name, the latest version of each name first. accepted: by label, the dependencies that were
    accepted as missing on installation."""

    packages: tuple[Package, ...] = ()
    accepted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def check(self, loaded: Sequence[Package]) -> None:
        """Raises StartupError if a dependency is missing. loaded: the packages of plugins."""
        dependencies.check(self.packages, (*loaded, *self.packages), self.accepted)


def folder_of(settings: Settings) -> PackageFolder:
    return PackageFolder(settings.package_folder, PackageLimits.of(settings))


def read_installed(settings: Settings) -> InstalledPackages:
    """The installed packages that the settings choose.

    Raises StartupError, which names the file, for a damaged package, and for a chosen package that is not installed."""
    folder = folder_of(settings)
    entries = folder.entries()
    packages = tuple(folder.read(e) for e in entries)
    accepted = {e.label: frozenset(e.record.missing) for e in entries if e.record is not None and e.record.missing}
    return InstalledPackages(select(packages, settings.packages), accepted)


def select(packages: Sequence[Package], chosen: Sequence[str]) -> tuple[Package, ...]:
    """The chosen packages (name or name@version) with their dependencies; all packages if none is chosen."""
    if not chosen:
        return tuple(packages)
    found = []
    for text in chosen:
        request = parse_package_request(text)
        package = dependencies.find(packages, request.name, request.version)
        if package is None:
            known = ", ".join(f"{p.name}@{p.version}" for p in packages) or "none"
            raise StartupError(
                f"setting packages: {text} is not installed (installed: {known}). Install it with fhirstore package "
                "add."
            )
        found.append(package)
    labels = {p.label for p in dependencies.with_dependencies(found, packages)}
    return tuple(p for p in packages if p.label in labels)
