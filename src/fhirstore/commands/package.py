"""`fhirstore package`: install FHIR packages, list, verify and remove them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.commands.options import with_settings
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import PackageLimits
from fhirstore.errors import StartupError
from fhirstore.packages import dependencies
from fhirstore.packages.add import StartCheck, add, latest_first
from fhirstore.packages.folder import InstalledPackage, PackageFolder
from fhirstore.packages.installed import folder_of
from fhirstore.packages.names import parse_package_request
from fhirstore.plugins.manager import Plugins
from fhirstore.settings import Settings

_RESTART = "A running server takes notice when it is started again, or told to reload (kill -HUP)."


@click.group()
def package() -> None:
    """Install FHIR packages, list, verify and remove them."""


@package.command("add")
@click.argument("sources", nargs=-1, required=True, metavar="FILE|FOLDER|NAME@VERSION...")
@click.option("--force", is_flag=True, help="Install although dependencies are missing or definitions are faulty")
@with_settings("package_folder", "capability", "plugin")
def add_packages(settings: Settings, sources: tuple[str, ...], force: bool) -> None:
    """Install packages from files, folders and, where the setting package_registry names one, a registry, with what
    they depend on. All of them are installed or none."""
    done = add(settings, sources, _try_start(settings), force=force)
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    for one in done.present:
        click.echo(f"{one.name} {one.version} was installed already")
    for one in done.installed:
        click.echo(f"{one.name} {one.version} installed: {_contents(one)}")
    if done.installed:
        click.echo(_RESTART, err=True)


@package.command("list")
@click.option("--format", "format", type=click.Choice(("text", "json")), default="text", show_default=True)
@with_settings("package_folder")
def list_packages(settings: Settings, format: str) -> None:
    """List the installed packages."""
    folder = folder_of(settings)
    packages = [(entry, folder.read(entry)) for entry in folder.entries()]
    if format == "json":
        for entry, one in packages:
            click.echo(json.dumps(_described(entry, one)))
        return
    if not packages:
        click.echo(f"No package is installed in {folder.path}.")
        return
    console = Console()
    if not console.is_terminal:
        console.width = 1000
    table = Table("package", "version", "contents", "capability statements", "lacks")
    for entry, one in packages:
        names = (str(s.get("name") or s.get("id")) for s in _of(one, "CapabilityStatement"))
        lacking = entry.record.missing if entry.record else ()
        table.add_row(one.name, one.version, _contents(one), "\n".join(names), "\n".join(lacking))
    console.print(table)


@package.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME[@VERSION]]...")
@with_settings("package_folder")
def verify_packages(settings: Settings, names: tuple[str, ...]) -> None:
    """Check that the installed packages are as they were installed, and that nothing they depend on is missing.

    Exit status 1 when something is wrong."""
    folder = folder_of(settings)
    entries = folder.entries()
    chosen = [e for name in names for e in _named(entries, name)] if names else entries
    faults = 0
    readable = [p for e in entries if (p := _read(folder, e)) is not None]
    for entry in chosen:
        found = [*folder.faults(entry), *_lacking(folder, entry, readable)]
        click.echo(f"{entry.name} {entry.version}: {'in order' if not found else f'{len(found)} faults'}")
        for text in found:
            click.echo(f"  {text}")
        faults += len(found)
    if faults:
        raise SystemExit(1)


@package.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME[@VERSION]...")
@click.option("--force", is_flag=True, help="Remove although other packages depend on it")
@with_settings("package_folder")
def remove_packages(settings: Settings, names: tuple[str, ...], force: bool) -> None:
    """Remove installed packages. Their resources are taken out of the store when a server starts."""
    folder = folder_of(settings)
    with folder.changing():
        entries = folder.entries()
        chosen = [_only(_named(entries, name), name) for name in names]
        if not force:
            _refuse_needed(folder, entries, chosen)
        for entry in {e.label: e for e in chosen}.values():
            folder.remove(entry)
            click.echo(f"{entry.name} {entry.version} removed")
    click.echo(_RESTART, err=True)


# --- add --------------------------------------------------------------------------------------------


def _try_start(settings: Settings) -> StartCheck:
    """Whether a server with these settings would start with the new packages."""
    plugins = Plugins.load(settings.plugins, PackageLimits.of(settings))
    loaded, able = plugins.packages(), plugins.operations()

    def reason(packages: Sequence[Package]) -> str | None:
        try:
            catalog = Catalog(load(), loaded, latest_first(packages))
            build_registry(catalog, *read_statement(settings.capability, catalog), able)
        except StartupError as e:
            return str(e)
        return None

    def attempt(before: Sequence[Package], new: Sequence[Package]) -> str | None:
        labels = {p.label for p in new}
        found = reason([*new, *(p for p in before if p.label not in labels)])
        if found is None or reason(before) is not None:  # what it did not do before is not the package's fault
            return None
        return f"fhirstore serve --capability {settings.capability} would no longer start: {found}"

    return attempt


def _of(one: Package, kind: str) -> list[dict[str, Any]]:
    return [r for r in one.resources if r["resourceType"] == kind]


def _contents(one: Package) -> str:
    counts = Counter(str(r["resourceType"]) for r in one.resources)
    return ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "nothing that fhirstore reads"


# --- list, verify, remove ---------------------------------------------------------------------------


def _described(entry: InstalledPackage, one: Package) -> dict[str, Any]:
    return {
        "name": one.name,
        "version": one.version,
        "dependencies": dict(one.dependencies),
        "missing": list(entry.record.missing) if entry.record else [],
        "source": entry.record.source if entry.record else None,
        "resources": dict(sorted(Counter(str(r["resourceType"]) for r in one.resources).items())),
        "capabilityStatements": [s["url"] for s in _of(one, "CapabilityStatement")],
    }


def _named(entries: Sequence[InstalledPackage], text: str) -> list[InstalledPackage]:
    """Raises StartupError when none is installed under this name."""
    wanted = parse_package_request(text)
    found = [e for e in entries if e.name == wanted.name and ("@" not in text or e.version == wanted.version)]
    if not found:
        known = ", ".join(f"{e.name}@{e.version}" for e in entries) or "none"
        raise StartupError(f"{text}: no such package is installed (installed: {known}).")
    return found


def _only(found: Sequence[InstalledPackage], text: str) -> InstalledPackage:
    if len(found) > 1:
        raise StartupError(f"{text}: several versions are installed; give one of {', '.join(_at(e) for e in found)}.")
    return found[0]


def _at(entry: InstalledPackage) -> str:
    return f"{entry.name}@{entry.version}"


def _read(folder: PackageFolder, entry: InstalledPackage) -> Package | None:
    try:
        return folder.read(entry)
    except StartupError:
        return None


def _lacking(folder: PackageFolder, entry: InstalledPackage, packages: Sequence[Package]) -> list[str]:
    """What is wrong with the package as such: it cannot be read, or lacks what it depends on."""
    try:
        one = folder.read(entry)
        accepted = entry.record.missing if entry.record else ()
        lacking = [w for w in dependencies.missing(one, packages) if str(w) not in accepted]
        return [dependencies.missing_text(one, w, packages) for w in lacking]
    except StartupError as e:
        return [str(e)]


def _refuse_needed(
    folder: PackageFolder, entries: Sequence[InstalledPackage], chosen: Sequence[InstalledPackage]
) -> None:
    """Raises StartupError when what stays depends on what is to be removed. What cannot be read needs nothing."""
    labels = {e.label for e in chosen}
    packages = [p for e in entries if (p := _read(folder, e)) is not None]
    staying = [p for p in packages if p.label not in labels]
    for one in staying:
        before = dependencies.missing(one, packages)
        gone = [w for w in dependencies.missing(one, staying) if w not in before]
        if gone:
            raise StartupError(
                f"package {one.name} {one.version} depends on {', '.join(str(w) for w in gone)}; remove it too, or use "
                "--force."
            )
