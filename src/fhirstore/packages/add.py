"""`package add`: everything is read, fetched and checked before the first package is put into the folder.

What is put there is put in the order of dependencies, each package whole; so whenever the process ends, what is
installed can be used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import Limits, parse_package, read_files
from fhirstore.definitions.versions import version_key
from fhirstore.errors import StartupError
from fhirstore.packages import dependencies
from fhirstore.packages.check import Finding, check_contents, check_duplicates
from fhirstore.packages.folder import PackageFolder, Record, hashes
from fhirstore.packages.names import CORE, CORE_VERSION, Wanted, check_name, check_version, read_wanted
from fhirstore.packages.registry import PackageRegistry
from fhirstore.settings import Settings

ARCHIVES = (".tgz", ".tar.gz", ".gz", ".zip", ".json")


@dataclass(frozen=True, slots=True)
class Staged:
    """A package that is to be installed. source: the file, folder or URL it comes from. is_new: it is not there yet,
    or with other contents."""

    package: Package
    files: Mapping[str, bytes]
    source: str
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` did. installed, present: what is new, and what was there already. notes: what the user should know."""

    installed: tuple[Package, ...]
    present: tuple[Package, ...]
    notes: tuple[str, ...]


Try = Callable[[Sequence[Package], Sequence[Package]], str | None]
"""(installed before, new) -> why a server would not start with the new ones; None = it would."""


def add(settings: Settings, sources: Sequence[str], try_start: Try, *, force: bool) -> Added:
    """Installs packages from files, folders and the registry, with what they depend on where there is a registry.

    force: missing dependencies, faulty definitions, other contents of what is installed, and a server that would not
    start become notes. Raises StartupError for those without it, and for what is no sound R4 package in any case;
    then nothing is installed."""
    folder = PackageFolder(settings.package_folder, Limits.of(settings))
    with folder.changing():
        there = [folder.read(e) for e in folder.entries()]
        with ExitStack() as stack:
            sources_of = _Sources(settings, stack)
            staged = _with_dependencies(sources_of, [sources_of.take(s) for s in sources], there, force=force)
        return _install(folder, _compared(staged, there, force=force), there, try_start, sources_of.notes, force=force)


class _Sources:
    """Where packages come from."""

    def __init__(self, settings: Settings, stack: ExitStack):
        self._settings, self._stack = settings, stack
        self._registry: PackageRegistry | None = None
        self.most = settings.max_package_dependencies
        self.notes: list[str] = []

    @property
    def has_registry(self) -> bool:
        return self._settings.package_registry is not None

    def take(self, source: str) -> Staged:
        """The package of a path or of name@version."""
        if os.path.exists(source) or "/" in source or source.lower().endswith(ARCHIVES):
            return self._read(Path(source), source)
        wanted = read_wanted(source)
        if wanted.name in CORE:
            raise StartupError(f"{source}: {wanted.name} {CORE_VERSION} is built in and need not be installed.")
        if not self.has_registry:
            raise StartupError(
                f"{source}: there is no such file or folder, and no registry to take the package from; set "
                "package_registry (FHIRSTORE_PACKAGE_REGISTRY), such as https://packages.fhir.org."
            )
        return self.fetch(wanted)

    def fetch(self, wanted: Wanted) -> Staged:
        """The package from the registry."""
        if self._registry is None:
            self._registry = PackageRegistry(str(self._settings.package_registry), self._settings)
            self._stack.enter_context(closing(self._registry))
        offer = self._registry.find(wanted)
        with TemporaryDirectory(prefix="fhirstore-package-") as place:
            file = Path(place) / "package.tgz"
            self._registry.fetch(offer, file)
            staged = self._read(file, offer.url)
        found = staged.package
        if (found.name, found.version) != (offer.name, offer.version):
            raise StartupError(
                f"{offer.url}: package.json: this is {found.name} {found.version}, not {offer.name} {offer.version}."
            )
        return staged

    def _read(self, path: Path, source: str) -> Staged:
        files = read_files(path, Limits.of(self._settings), source)
        package = parse_package(source, files)
        at = f"{source}: package.json"
        check_name(package.name, at)
        check_version(package.version, at)
        if package.name in CORE:
            raise StartupError(f"{at}: {package.name} {CORE_VERSION} is built in and need not be installed.")
        return Staged(package, files, source)


def _with_dependencies(sources: _Sources, given: list[Staged], there: list[Package], *, force: bool) -> list[Staged]:
    """The given packages and, from the registry, what they depend on, however deep."""
    staged: dict[str, Staged] = {}
    for one in given:
        other = staged.setdefault(one.package.label, one)
        if other.package.digest != one.package.digest:
            raise StartupError(f"{one.source}: {other.source} is the same package with other contents.")
    waiting = list(staged.values())
    while waiting:
        package = waiting.pop(0).package
        for wanted in dependencies.missing(package, [*(s.package for s in staged.values()), *there]):
            if not sources.has_registry:
                continue
            if len(staged) - len(given) >= sources.most:
                raise StartupError(
                    f"package {package.name} {package.version}: more than {sources.most} packages would have to be "
                    "fetched (setting max_package_dependencies)."
                )
            try:
                found = sources.fetch(wanted)
            except StartupError as e:
                if not force:
                    raise StartupError(f"package {package.name} {package.version} depends on {wanted}: {e}") from e
                sources.notes.append(f"{wanted}, which {package.label} depends on, was not fetched: {e}")
                continue
            staged[found.package.label] = found
            waiting.append(found)
    return list(staged.values())


def _compared(staged: list[Staged], there: list[Package], *, force: bool) -> list[Staged]:
    """Marks what is installed already. Raises StartupError for what is installed with other contents."""
    digests = {p.label: p.digest for p in there}
    out = []
    for one in staged:
        known = digests.get(one.package.label)
        if known is not None and known != one.package.digest and not force:
            raise StartupError(
                f"{one.source}: {one.package.name} {one.package.version} is installed with other contents; "
                "--force replaces it."
            )
        out.append(Staged(one.package, one.files, one.source, known != one.package.digest))
    return out


def _install(
    folder: PackageFolder,
    staged: list[Staged],
    there: list[Package],
    try_start: Try,
    notes: list[str],
    *,
    force: bool,
) -> Added:
    new = {s.package.label: s for s in staged if s.is_new}
    kept = [p for p in there if p.label not in new]
    packages = dependencies.ordered([s.package for s in new.values()], kept)
    at_hand = [*packages, *kept]
    problems: list[str] = []
    lacking: dict[str, list[Wanted]] = {p.label: dependencies.missing(p, at_hand) for p in packages}
    for package in packages:
        problems += [dependencies.lacks(package, w, at_hand) for w in lacking[package.label]]
    if problems and not force:
        raise StartupError("\n".join([*problems, _FORCE]))
    findings = _findings(packages, at_hand)
    problems += [f.text for f in findings if f.is_fault]
    notes += [f.text for f in findings if not f.is_fault]
    if packages and (force or not problems) and (reason := try_start(there, packages)):
        problems.append(reason)
    if problems and not force:
        raise StartupError("\n".join([*problems, _FORCE]))
    for package in packages:
        one = new[package.label]
        accepted = tuple(str(w) for w in lacking[package.label])
        folder.put(package, one.files, Record(one.source, hashes(one.files), accepted))
    present = tuple(s.package for s in staged if not s.is_new)
    return Added(tuple(packages), present, (*problems, *notes))


_FORCE = "Nothing was installed. (--force installs it all the same; profiles that are faulty are not checked.)"


def _findings(packages: Sequence[Package], at_hand: Sequence[Package]) -> list[Finding]:
    catalog = Catalog(load(), [], latest_first(at_hand))
    found: list[Finding] = []
    for package in packages:
        found += check_duplicates(package, at_hand)
        found += check_contents(catalog, package)
    return found


def latest_first(packages: Sequence[Package]) -> list[Package]:
    """By name, of each name the latest version first."""
    later = sorted(packages, key=lambda p: version_key(p.version), reverse=True)
    return sorted(later, key=lambda p: p.name)
