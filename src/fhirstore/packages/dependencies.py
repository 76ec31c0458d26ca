"""The dependencies of packages: https://hl7.org/fhir/packages.html.

Several versions of a package may be available. The R4 core package is built in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fhirstore.definitions.model import Package
from fhirstore.definitions.versions import satisfies, version_key
from fhirstore.errors import StartupError
from fhirstore.packages.names import CORE, CORE_VERSION, PackageRequest


def find(packages: Sequence[Package], name: str, version: str) -> Package | None:
    """The latest version of a package that matches a version or pattern."""
    found = [p for p in packages if p.name == name and satisfies(p.version, version)]
    return max(found, key=lambda p: version_key(p.version), default=None)


def requirements(package: Package) -> Iterator[PackageRequest]:
    """The dependencies of a package except the R4 core.

    Raises StartupError if it depends on the core of another release."""
    for name, version in package.dependencies.items():
        if name not in CORE:
            yield PackageRequest(name, version)
        elif not satisfies(CORE_VERSION, version):
            raise StartupError(
                f"package {package.name} {package.version} depends on {name} {version}, but fhirstore supports only "
                f"{name} {CORE_VERSION}. Use the edition of the package for R4."
            )


def missing(package: Package, packages: Sequence[Package]) -> list[PackageRequest]:
    """The dependencies that are not among the packages."""
    return [w for w in requirements(package) if find(packages, w.name, w.version) is None]


def ordered(packages: Sequence[Package], others: Sequence[Package]) -> list[Package]:
    """The packages, each after its dependencies. others: packages that may be dependencies too.

    Raises StartupError, which names the packages, if dependencies are cyclic."""
    available = (*packages, *others)
    done: dict[str, Package] = {}
    for package in packages:
        _visit(package, available, (), done)
    chosen = {p.label for p in packages}
    return [p for p in done.values() if p.label in chosen]


def _visit(
    package: Package, available: Sequence[Package], dependents: tuple[str, ...], done: dict[str, Package]
) -> None:
    if package.label in dependents:
        cycle = " -> ".join([*dependents[dependents.index(package.label) :], package.label])
        raise StartupError(f"the dependencies of packages are cyclic: {cycle}")
    if package.label in done:
        return
    for request in requirements(package):
        found = find(available, request.name, request.version)
        if found is not None:
            _visit(found, available, (*dependents, package.label), done)
    done[package.label] = package


def with_dependencies(chosen: Sequence[Package], packages: Sequence[Package]) -> list[Package]:
    """The chosen packages and their direct and indirect dependencies."""
    found: dict[str, Package] = {}
    waiting = list(chosen)
    while waiting:
        package = waiting.pop(0)
        if package.label not in found:
            found[package.label] = package
            waiting += [p for w in requirements(package) if (p := find(packages, w.name, w.version)) is not None]
    return list(found.values())


def check(packages: Sequence[Package], available: Sequence[Package], accepted: Mapping[str, frozenset[str]]) -> None:
    """Raises StartupError, which names both packages, if a dependency is missing.

    accepted: by label, the dependencies ("name@version") that were accepted as missing on installation."""
    for package in packages:
        for request in missing(package, available):
            if str(request) not in accepted.get(package.label, ()):
                raise StartupError(missing_text(package, request, available))


def missing_text(package: Package, request: PackageRequest, available: Sequence[Package]) -> str:
    """The message for a missing dependency."""
    others = sorted((p.version for p in available if p.name == request.name), key=version_key)
    state = f"is available only in version {', '.join(others)}" if others else "is not available"
    return (
        f"package {package.name} {package.version} depends on {request.name} {request.version}, which {state}. Install "
        f"it with fhirstore package add {request} (or its file), or load it with --plugin FOLDER."
    )
