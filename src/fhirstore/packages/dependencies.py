"""https://hl7.org/fhir/packages.html: what packages depend on, and whether it is at hand.

A package is told by its name and version; several versions of one may be at hand. The R4 core is built in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fhirstore.definitions.model import Package
from fhirstore.definitions.versions import satisfies, version_key
from fhirstore.errors import StartupError
from fhirstore.packages.names import CORE, CORE_VERSION, Wanted


def find(packages: Sequence[Package], name: str, wanted: str) -> Package | None:
    """The latest version of the package that is what is wanted."""
    found = [p for p in packages if p.name == name and satisfies(p.version, wanted)]
    return max(found, key=lambda p: version_key(p.version), default=None)


def wants(package: Package) -> Iterator[Wanted]:
    """What it depends on, but the R4 core. Raises StartupError when it wants the core of another release."""
    for name, version in package.dependencies.items():
        if name not in CORE:
            yield Wanted(name, version)
        elif not satisfies(CORE_VERSION, version):
            raise StartupError(
                f"package {package.name} {package.version} depends on {name} {version}; fhirstore is built on "
                f"{name} {CORE_VERSION} and serves no other release. Take the edition of the package for R4."
            )


def missing(package: Package, packages: Sequence[Package]) -> list[Wanted]:
    """What it depends on and is not among the packages."""
    return [w for w in wants(package) if find(packages, w.name, w.version) is None]


def ordered(packages: Sequence[Package], others: Sequence[Package]) -> list[Package]:
    """The packages, each after what it depends on. others: further ones that may be depended on.

    Raises StartupError, which names the circle, when dependencies go in one."""
    at_hand = (*packages, *others)
    done: dict[str, Package] = {}
    for package in packages:
        _visit(package, at_hand, (), done)
    chosen = {p.label for p in packages}
    return [p for p in done.values() if p.label in chosen]


def _visit(package: Package, at_hand: Sequence[Package], inside: tuple[str, ...], done: dict[str, Package]) -> None:
    if package.label in inside:
        circle = " -> ".join([*inside[inside.index(package.label) :], package.label])
        raise StartupError(f"the dependencies of packages go in a circle: {circle}")
    if package.label in done:
        return
    for wanted in wants(package):
        found = find(at_hand, wanted.name, wanted.version)
        if found is not None:
            _visit(found, at_hand, (*inside, package.label), done)
    done[package.label] = package


def closure(chosen: Sequence[Package], packages: Sequence[Package]) -> list[Package]:
    """The chosen packages and all that they depend on, each once."""
    found: dict[str, Package] = {}
    waiting = list(chosen)
    while waiting:
        package = waiting.pop(0)
        if package.label not in found:
            found[package.label] = package
            waiting += [p for w in wants(package) if (p := find(packages, w.name, w.version)) is not None]
    return list(found.values())


def check(packages: Sequence[Package], at_hand: Sequence[Package], accepted: Mapping[str, frozenset[str]]) -> None:
    """Raises StartupError, which names both packages and says what to do, when one lacks what it depends on.

    accepted: by label, what was accepted as missing when it was installed ("name@version")."""
    for package in packages:
        for wanted in missing(package, at_hand):
            if str(wanted) not in accepted.get(package.label, ()):
                raise StartupError(lacks(package, wanted, at_hand))


def lacks(package: Package, wanted: Wanted, at_hand: Sequence[Package]) -> str:
    """The message for a dependency that is not at hand."""
    others = sorted((p.version for p in at_hand if p.name == wanted.name), key=version_key)
    state = f"is at hand in version {', '.join(others)}" if others else "is not at hand"
    return (
        f"package {package.name} {package.version} depends on {wanted.name} {wanted.version}, which {state}; "
        f"install it with: fhirstore package add {wanted} (or its file), or load it with --plugin FOLDER."
    )
