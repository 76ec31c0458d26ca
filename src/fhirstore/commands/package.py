"""`fhirstore package`: installs, lists, verifies and removes FHIR packages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.capability.omissions import Omissions
from fhirstore.commands.options import ClientTls, with_client_tls, with_settings
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import PackageLimits
from fhirstore.errors import StartupError
from fhirstore.interactions.operations.table import BUILT_IN
from fhirstore.packages import dependencies
from fhirstore.packages.add import StartCheck, StartResult, add, latest_first
from fhirstore.packages.folder import InstalledPackage, PackageFolder
from fhirstore.packages.installed import folder_of
from fhirstore.packages.names import parse_package_request
from fhirstore.plugins.manager import Plugins
from fhirstore.settings import Settings

_RESTART = "Restart running servers, or reload them with kill -HUP, to apply the change."


@click.group()
def package() -> None:
    """Install, list, verify and remove FHIR packages."""


@package.command("add")
@click.argument("sources", nargs=-1, required=True, metavar="FILE|FOLDER|NAME@VERSION...")
@click.option("--strict", is_flag=True, help="Refuse packages with missing dependencies or faulty definitions.")
@click.option("--force", is_flag=True, help="Replace different contents, even if the server would no longer start.")
@with_client_tls
@with_settings("package_folder", "capability", "plugin")
def add_packages(settings: Settings, sources: tuple[str, ...], strict: bool, force: bool, tls: ClientTls) -> None:
    """Install packages with their dependencies from files, folders or a registry.

    Faulty definitions are left out with a warning. Downloads need the setting package_registry. If one package is
    refused, none is installed."""
    strict = strict or settings.package_problems == "refuse"
    context = tls.context_for(settings.package_registry, "the setting package_registry")
    result = add(settings, sources, _start_check(settings), force=force, strict=strict, tls=context)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    for package in result.present:
        click.echo(f"{package.name} {package.version} is already installed")
    for package in result.installed:
        click.echo(f"{package.name} {package.version} installed: {_contents(package)}")
    if result.installed:
        click.echo(_RESTART, err=True)


@package.command("list")
@click.option(
    "--format", "format", type=click.Choice(("text", "json")), default="text", show_default=True, help="Output format."
)
@with_settings("package_folder")
def list_packages(settings: Settings, format: str) -> None:
    """List the installed packages."""
    folder = folder_of(settings)
    packages = [(entry, folder.read(entry)) for entry in folder.entries()]
    if format == "json":
        for entry, package in packages:
            click.echo(json.dumps(_to_json(entry, package)))
        return
    if not packages:
        click.echo(f"No packages are installed in {folder.path}.")
        return
    console = Console()
    if not console.is_terminal:
        console.width = 1000
    table = Table("package", "version", "contents", "capability statements", "missing dependencies")
    for entry, package in packages:
        names = (str(s.get("name") or s.get("id")) for s in _resources_of_type(package, "CapabilityStatement"))
        missing = entry.record.missing if entry.record else ()
        table.add_row(package.name, package.version, _contents(package), "\n".join(names), "\n".join(missing))
    console.print(table)


@package.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME[@VERSION]]...")
@with_settings("package_folder")
def verify_packages(settings: Settings, names: tuple[str, ...]) -> None:
    """Check that packages are unchanged since their installation and that their dependencies are installed.

    The exit status is 1 if there are problems."""
    folder = folder_of(settings)
    entries = folder.entries()
    chosen = [e for name in names for e in _find(entries, name)] if names else entries
    count = 0
    readable = [p for e in entries if (p := _read(folder, e)) is not None]
    for entry in chosen:
        problems = [*folder.faults(entry), *_dependency_problems(folder, entry, readable)]
        click.echo(f"{entry.name} {entry.version}: {f'{len(problems)} problems' if problems else 'ok'}")
        for text in problems:
            click.echo(f"  {text}")
        count += len(problems)
    if count:
        raise SystemExit(1)


@package.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME[@VERSION]...")
@click.option("--force", is_flag=True, help="Remove even if other packages depend on it.")
@with_settings("package_folder")
def remove_packages(settings: Settings, names: tuple[str, ...], force: bool) -> None:
    """Remove installed packages. The next start of a server deletes their resources from the store."""
    folder = folder_of(settings)
    with folder.changing():
        entries = folder.entries()
        chosen = [_single(_find(entries, name), name) for name in names]
        if not force:
            _check_unused(folder, entries, chosen)
        for entry in {e.label: e for e in chosen}.values():
            folder.remove(entry)
            click.echo(f"{entry.name} {entry.version} removed")
    click.echo(_RESTART, err=True)


# --- add --------------------------------------------------------------------------------------------


def _start_check(settings: Settings) -> StartCheck:
    """Returns a function that tests whether a server with these settings starts with new packages."""
    plugins = Plugins.load(settings.plugins, PackageLimits.of(settings))
    loaded, operations = plugins.packages(), plugins.operations()

    def start(packages: Sequence[Package]) -> StartResult:
        omissions = Omissions()
        try:
            catalog = Catalog(load(), loaded, latest_first(packages))
            build_registry(catalog, *read_statement(settings.capability, catalog), operations, omissions, BUILT_IN)
        except StartupError as e:
            return StartResult(str(e))
        return StartResult(omissions=omissions.texts)

    def check(before: Sequence[Package], new: Sequence[Package]) -> StartResult:
        labels = {p.label for p in new}
        earlier, later = start(before), start([*new, *(p for p in before if p.label not in labels)])
        if earlier.error is not None:  # the server did not start before either
            return StartResult()
        if later.error is not None:
            return StartResult(
                f"fhirstore serve --capability {settings.capability} would no longer start: {later.error}"
            )
        return StartResult(omissions=tuple(text for text in later.omissions if text not in earlier.omissions))

    return check


def _resources_of_type(package: Package, type: str) -> list[dict[str, Any]]:
    return [r for r in package.resources if r["resourceType"] == type]


def _contents(package: Package) -> str:
    counts = Counter(str(r["resourceType"]) for r in package.resources)
    return ", ".join(f"{n} {type}" for type, n in sorted(counts.items())) or "no resources that fhirstore uses"


# --- list, verify, remove ---------------------------------------------------------------------------


def _to_json(entry: InstalledPackage, package: Package) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "dependencies": dict(package.dependencies),
        "missing": list(entry.record.missing) if entry.record else [],
        "source": entry.record.source if entry.record else None,
        "resources": dict(sorted(Counter(str(r["resourceType"]) for r in package.resources).items())),
        "capabilityStatements": [s["url"] for s in _resources_of_type(package, "CapabilityStatement")],
    }


def _find(entries: Sequence[InstalledPackage], text: str) -> list[InstalledPackage]:
    """The installed packages with this name, or name and version. Raises StartupError if there are none."""
    wanted = parse_package_request(text)
    found = [e for e in entries if e.name == wanted.name and ("@" not in text or e.version == wanted.version)]
    if not found:
        known = ", ".join(f"{e.name}@{e.version}" for e in entries) or "none"
        raise StartupError(f"{text}: package is not installed (installed: {known}).")
    return found


def _single(found: Sequence[InstalledPackage], text: str) -> InstalledPackage:
    if len(found) > 1:
        versions = ", ".join(f"{e.name}@{e.version}" for e in found)
        raise StartupError(f"{text}: several versions are installed. Choose one of {versions}.")
    return found[0]


def _read(folder: PackageFolder, entry: InstalledPackage) -> Package | None:
    try:
        return folder.read(entry)
    except StartupError:
        return None


def _dependency_problems(folder: PackageFolder, entry: InstalledPackage, packages: Sequence[Package]) -> list[str]:
    """An error if the package is unreadable, else one for each missing dependency that was not accepted."""
    try:
        package = folder.read(entry)
        accepted = entry.record.missing if entry.record else ()
        missing = [w for w in dependencies.missing(package, packages) if str(w) not in accepted]
        return [dependencies.missing_text(package, w, packages) for w in missing]
    except StartupError as e:
        return [str(e)]


def _check_unused(
    folder: PackageFolder, entries: Sequence[InstalledPackage], chosen: Sequence[InstalledPackage]
) -> None:
    """Raises StartupError if a remaining package depends on a chosen one. Unreadable packages are ignored."""
    labels = {e.label for e in chosen}
    packages = [p for e in entries if (p := _read(folder, e)) is not None]
    remaining = [p for p in packages if p.label not in labels]
    for package in remaining:
        missing_before = dependencies.missing(package, packages)
        removed = [w for w in dependencies.missing(package, remaining) if w not in missing_before]
        if removed:
            raise StartupError(
                f"package {package.name} {package.version} depends on {', '.join(str(w) for w in removed)}. Remove it "
                "too, or use --force."
            )
