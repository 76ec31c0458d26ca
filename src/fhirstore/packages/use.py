"""Which of the installed packages a process uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import Limits
from fhirstore.errors import StartupError
from fhirstore.packages import dependencies
from fhirstore.packages.folder import PackageFolder
from fhirstore.packages.names import read_wanted
from fhirstore.settings import Settings


@dataclass(frozen=True, slots=True)
class Installed:
    """packages: those used, by name, of each name the latest version first. accepted: by label, the dependencies that
    were accepted as missing."""

    packages: tuple[Package, ...] = ()
    accepted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def check(self, loaded: Sequence[Package]) -> None:
        """Raises StartupError when one lacks what it depends on. loaded: the packages of plugins."""
        dependencies.check(self.packages, (*loaded, *self.packages), self.accepted)


def folder_of(settings: Settings) -> PackageFolder:
    return PackageFolder(settings.package_folder, Limits.of(settings))


def read_installed(settings: Settings) -> Installed:
    """The installed packages that the settings choose. Raises StartupError, which names the file that is broken, or
    the chosen package that is not installed."""
    folder = folder_of(settings)
    entries = folder.entries()
    packages = tuple(folder.read(e) for e in entries)
    accepted = {e.label: frozenset(e.record.missing) for e in entries if e.record is not None and e.record.missing}
    return Installed(select(packages, settings.packages), accepted)


def select(packages: Sequence[Package], chosen: Sequence[str]) -> tuple[Package, ...]:
    """The packages named, name or name@version, with what they depend on; all when none is named."""
    if not chosen:
        return tuple(packages)
    found = []
    for text in chosen:
        wanted = read_wanted(text)
        package = dependencies.find(packages, wanted.name, wanted.version)
        if package is None:
            known = ", ".join(f"{p.name}@{p.version}" for p in packages) or "none"
            raise StartupError(
                f"setting packages: {text} is not installed (installed: {known}); fhirstore package add installs it."
            )
        found.append(package)
    labels = {p.label for p in dependencies.closure(found, packages)}
    return tuple(p for p in packages if p.label in labels)
