"""`package add`: reads, fetches and checks all packages before it installs the first one.

Each package is installed atomically, after its dependencies. The installed packages are therefore usable whenever the
process ends.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import PackageLimits, parse_package, read_files
from fhirstore.definitions.versions import version_key
from fhirstore.errors import StartupError
from fhirstore.packages import dependencies
from fhirstore.packages.check import PackageFinding, check_contents, check_duplicates
from fhirstore.packages.folder import InstallationRecord, PackageFolder, file_hashes
from fhirstore.packages.names import (
    CORE,
    CORE_VERSION,
    PackageRequest,
    check_name,
    check_version,
    parse_package_request,
)
from fhirstore.packages.registry import PackageRegistry
from fhirstore.settings import Settings

ARCHIVES = (".tgz", ".tar.gz", ".gz", ".zip", ".json")


@dataclass(frozen=True, slots=True)
class StagedPackage:
    """A package to install.

    source: its file, folder or URL. is_new: it is not installed yet, or with other contents."""

    package: Package
    files: Mapping[str, bytes]
    source: str
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class AddedPackages:
    """The result of `add`.

    installed: the new packages. present: those that were installed already. warnings: the problems of the new packages,
    and notes: the limits of fhirstore that affect them, as texts for the user."""

    installed: tuple[Package, ...]
    present: tuple[Package, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartResult:
    """Whether a server starts with new packages.

    error: why it no longer would, None if it would. omissions: what it would leave out of the new packages."""

    error: str | None = None
    omissions: tuple[str, ...] = ()


StartCheck = Callable[[Sequence[Package], Sequence[Package]], StartResult]
"""(installed packages, new packages) -> the result for the new ones."""


def add(
    settings: Settings,
    sources: Sequence[str],
    check_start: StartCheck,
    *,
    force: bool,
    strict: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AddedPackages:
    """Installs packages from files, folders and the registry; fetches dependencies if there is a registry.

    strict: missing dependencies and faulty definitions raise StartupError; otherwise they are warnings. force: changed
    contents of an installed package and a server that would not start are warnings too; otherwise they raise
    StartupError. An invalid archive always does. Nothing is installed in this case. tls: see `PackageRegistry`."""
    folder = PackageFolder(settings.package_folder, PackageLimits.of(settings))
    with folder.changing():
        existing = [folder.read(e) for e in folder.entries()]
        with ExitStack() as stack:
            package_sources = _PackageSources(settings, stack, tls)
            staged = _with_dependencies(
                package_sources, [package_sources.load(s) for s in sources], existing, strict=strict
            )
        return _install(
            folder,
            _marked_if_new(staged, existing, force=force),
            existing,
            check_start,
            package_sources.warnings,
            force=force,
            strict=strict,
        )


class _PackageSources:
    """Loads packages from files, folders and the registry."""

    def __init__(self, settings: Settings, stack: ExitStack, tls: ssl.SSLContext | None):
        self._settings, self._stack, self._tls = settings, stack, tls
        self._registry: PackageRegistry | None = None
        self.max_fetched = settings.max_package_dependencies
        self.warnings: list[str] = []

    @property
    def has_registry(self) -> bool:
        return self._settings.package_registry is not None

    def load(self, source: str) -> StagedPackage:
        """The package at a path, or the package name@version of the registry."""
        if os.path.exists(source) or "/" in source or source.lower().endswith(ARCHIVES):
            return self._read(Path(source), source)
        request = parse_package_request(source)
        if request.name in CORE:
            raise StartupError(f"{source}: {request.name} {CORE_VERSION} is built in and cannot be installed.")
        if not self.has_registry:
            raise StartupError(
                f"{source}: no such file or folder, and no registry is set. To use a registry, set package_registry "
                "(FHIRSTORE_PACKAGE_REGISTRY), for example to https://packages.fhir.org."
            )
        return self.fetch(request)

    def fetch(self, request: PackageRequest) -> StagedPackage:
        """The package from the registry."""
        if self._registry is None:
            self._registry = PackageRegistry(str(self._settings.package_registry), self._settings, self._tls)
            self._stack.enter_context(closing(self._registry))
        offer = self._registry.find(request)
        with TemporaryDirectory(prefix="fhirstore-package-") as place:
            file = Path(place) / "package.tgz"
            self._registry.fetch(offer, file)
            staged = self._read(file, offer.url)
        found = staged.package
        if (found.name, found.version) != (offer.name, offer.version):
            raise StartupError(
                f"{offer.url}: package.json: found {found.name} {found.version}, expected {offer.name} {offer.version}."
            )
        return staged

    def _read(self, path: Path, source: str) -> StagedPackage:
        files = read_files(path, PackageLimits.of(self._settings), source)
        package = parse_package(source, files, lenient=True)
        at = f"{source}: package.json"
        check_name(package.name, at)
        check_version(package.version, at)
        if package.name in CORE:
            raise StartupError(f"{at}: {package.name} {CORE_VERSION} is built in and cannot be installed.")
        return StagedPackage(package, files, source)


def _with_dependencies(
    sources: _PackageSources, requested: list[StagedPackage], existing: list[Package], *, strict: bool
) -> list[StagedPackage]:
    """The requested packages and, from the registry, their direct and indirect dependencies."""
    staged: dict[str, StagedPackage] = {}
    for one in requested:
        other = staged.setdefault(one.package.label, one)
        if other.package.digest != one.package.digest:
            raise StartupError(f"{one.source}: {other.source} is the same package with different contents.")
    waiting = list(staged.values())
    while waiting:
        package = waiting.pop(0).package
        for request in dependencies.missing(package, [*(s.package for s in staged.values()), *existing]):
            if not sources.has_registry:
                continue
            if len(staged) - len(requested) >= sources.max_fetched:
                raise StartupError(
                    f"package {package.name} {package.version}: the dependencies exceed the limit of "
                    f"{sources.max_fetched} packages to fetch (setting max_package_dependencies)."
                )
            try:
                found = sources.fetch(request)
            except StartupError as e:
                if strict:
                    raise StartupError(f"package {package.name} {package.version} depends on {request}: {e}") from e
                sources.warnings.append(f"{request}, which {package.label} depends on, was not fetched: {e}")
                continue
            staged[found.package.label] = found
            waiting.append(found)
    return list(staged.values())


def _marked_if_new(staged: list[StagedPackage], existing: list[Package], *, force: bool) -> list[StagedPackage]:
    """Sets is_new. Raises StartupError if a package is installed with different contents."""
    digests = {p.label: p.digest for p in existing}
    out = []
    for one in staged:
        known = digests.get(one.package.label)
        if known is not None and known != one.package.digest and not force:
            raise StartupError(
                f"{one.source}: {one.package.name} {one.package.version} is installed with different contents. Use "
                "--force to replace it."
            )
        out.append(StagedPackage(one.package, one.files, one.source, known != one.package.digest))
    return out


def _install(
    folder: PackageFolder,
    staged: list[StagedPackage],
    existing: list[Package],
    check_start: StartCheck,
    warnings: list[str],
    *,
    force: bool,
    strict: bool,
) -> AddedPackages:
    new = {s.package.label: s for s in staged if s.is_new}
    kept = [p for p in existing if p.label not in new]
    packages = dependencies.ordered([s.package for s in new.values()], kept)
    available = [*packages, *kept]
    problems = [*warnings, *(text for p in packages for text in p.problems.values())]
    missing: dict[str, list[PackageRequest]] = {p.label: dependencies.missing(p, available) for p in packages}
    for package in packages:
        problems += [dependencies.missing_text(package, w, available) for w in missing[package.label]]
    findings = _findings(packages, available)
    problems += [f.text for f in findings if f.is_error]
    notes = [f.text for f in findings if not f.is_error]
    if problems and strict:
        raise StartupError("\n".join([*problems, _NOT_STRICT]))
    start = check_start(existing, packages) if packages else StartResult()
    if start.error and not force:
        raise StartupError(f"{start.error}\n{_FORCE}")
    problems += start.omissions
    if problems and strict:
        raise StartupError("\n".join([*problems, _NOT_STRICT]))
    if start.error:
        problems.append(start.error)
    for package in packages:
        one = new[package.label]
        absent = tuple(str(w) for w in missing[package.label])
        record = InstallationRecord(one.source, file_hashes(one.files), absent, tuple(package.problems))
        folder.put(package, one.files, record)
    present = tuple(s.package for s in staged if not s.is_new)
    return AddedPackages(tuple(packages), present, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(notes)))


_NOT_STRICT = "Nothing was installed. Without --strict, the package is installed without these definitions."
_FORCE = "Nothing was installed. Use --force to install it anyway."


def _findings(packages: Sequence[Package], available: Sequence[Package]) -> list[PackageFinding]:
    catalog = Catalog(load(), [], latest_first(available))
    found: list[PackageFinding] = []
    for package in packages:
        found += check_duplicates(package, available)
        found += check_contents(catalog, package)
    return found


def latest_first(packages: Sequence[Package]) -> list[Package]:
    """Sorted by name, the latest version of each name first."""
    by_version = sorted(packages, key=lambda p: version_key(p.version), reverse=True)
    return sorted(by_version, key=lambda p: p.name)
