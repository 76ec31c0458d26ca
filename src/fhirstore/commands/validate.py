"""`fhirstore validate`: resources in files against R4 and against profiles, without a store.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.capability.registry import Registry
from fhirstore.commands.load_files import LINES, SUFFIXES, find_files
from fhirstore.commands.options import with_settings
from fhirstore.errors import FhirError, Issue, StartupError
from fhirstore.formats.json import parse
from fhirstore.interactions.profiles import asked, claims_within, demands
from fhirstore.interactions.write import plugin_issues
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.plugins.hookspecs import Write
from fhirstore.plugins.manager import Plugins
from fhirstore.server import read_definitions
from fhirstore.settings import Settings
from fhirstore.validation.validator import ResourceValidator

_COLOURS = {"fatal": "bold red", "error": "red", "warning": "yellow", "information": "blue"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in one resource. line: that of an NDJSON file, else None. resource: Type/id, the type alone where
    there is no id, None where the JSON could not be read."""

    file: Path
    line: int | None
    resource: str | None
    issues: tuple[Issue, ...]

    @property
    def where(self) -> str:
        return str(self.file) if self.line is None else f"{self.file}:{self.line}"

    def to_json(self) -> dict[str, Any]:
        line = {} if self.line is None else {"line": self.line}
        issues = [i.to_json() for i in self.issues]
        return {"file": str(self.file), **line, "resource": self.resource, "issue": issues}


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a server of these settings would judge by, without a store."""

    settings: Settings
    registry: Registry
    plugins: Plugins
    conformance: ResourceValidator
    options: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> Deployment:
        """Raises StartupError."""
        plugins, catalog = read_definitions(settings)
        registry = build_registry(catalog, *read_statement(settings.capability, catalog), plugins.operations())
        options = plugins.options(settings.plugin_options)
        return cls(settings, registry, plugins, ResourceValidator(catalog), options)


class Checker:
    """The structure of R4, and `profiles`; without any, those that a write would be held to: of the statement, those
    that the resource claims, and what plugins make of them. The rules of plugins too.

    Raises StartupError where one of `profiles` is not at hand or faulty."""

    def __init__(self, deployment: Deployment, profiles: Sequence[str], *, must_support: bool = False):
        self._deployment, self._conformance = deployment, deployment.conformance
        self._profiles, self._must_support = profiles, must_support
        for profile in profiles:
            if not self._conformance.knows(profile):
                raise StartupError(
                    f"--profile {profile}: no package at hand defines it; name a plugin that does with --plugin, or "
                    "install its package with fhirstore package add."
                )
            self._conformance.profiles().compile(profile)

    def check(self, file: Path, line: int | None, raw: bytes) -> Checked:
        try:
            resource = parse(raw, self._deployment.settings.max_nesting)
        except FhirError as e:
            return Checked(file, line, None, e.issues)
        name = "/".join(str(resource[key]) for key in ("resourceType", "id") if key in resource)
        type, id = (str(resource.get(key, "")) for key in ("resourceType", "id"))
        write = Write("validate", type, id, resource)
        wanted = self._wanted(write)
        inner = () if self._profiles else claims_within(self._deployment, write)
        issues = self._conformance.validate(resource, wanted, inner)
        issues += plugin_issues(self._deployment, write, wanted)
        if self._must_support:
            known = (d.profile for d in wanted if self._conformance.knows(d.profile))
            issues += (i for profile in known for i in self._conformance.profiles().must_support(resource, profile))
        return Checked(file, line, name or None, tuple(dict.fromkeys(issues)))

    def _wanted(self, write: Write) -> list[ProfileRequirement]:
        if self._profiles:
            return [demand for profile in self._profiles for demand in asked(self._deployment, write, profile)]
        return demands(self._deployment, write)


def read_parts(file: Path) -> Iterator[tuple[int | None, bytes]]:
    """(line number, JSON) of each line of an NDJSON file that is not blank, (None, JSON) of another file.
    Raises StartupError where the file cannot be read."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            if file.name.removesuffix(".gz").endswith(LINES):
                yield from ((number, line) for number, line in enumerate(stream, 1) if line.strip())
            else:
                yield None, stream.read()
    except (OSError, EOFError, zlib.error) as e:
        raise StartupError(f"{file}: the file cannot be read: {e}.") from e


class Report:
    """Writes what was found to stdout, and counts it."""

    def __init__(self, format: str):
        self._json = format == "json"
        self._console = Console(highlight=False)
        self._resources = self.faulty = self._errors = self._warnings = 0

    def note(self, checked: Checked) -> None:
        errors = sum(i.is_error for i in checked.issues)
        self._resources += 1
        self.faulty += errors > 0
        self._errors += errors
        self._warnings += sum(i.severity == "warning" for i in checked.issues)
        if self._json:
            click.echo(json.dumps(checked.to_json()))
            return
        for issue in checked.issues:
            parts = (checked.where, "  ", (issue.severity, _COLOURS[issue.severity]), "  ")
            self._print(*parts, f"{', '.join(issue.expression) or '-'}  {issue.diagnostics}")

    def end(self) -> None:
        if not self._json:
            counts = f"{self.faulty} with errors, {self._errors} errors, {self._warnings} warnings"
            self._print(f"{self._resources} resources, {counts}")

    def _print(self, *parts: str | tuple[str, str]) -> None:
        shown = (_visible(part) if isinstance(part, str) else part for part in parts)
        self._console.print(Text.assemble(*shown), soft_wrap=True)


def _visible(text: str) -> str:
    """With escapes for what would break the line or command the terminal: names and values come from the files."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILES...")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="CANONICAL",
    help="Check against this profile instead of those that a write would be held to (may be repeated)",
)
@click.option(
    "--format", "format", type=click.Choice(("text", "json")), default="text", show_default=True, help="Of the output"
)
@click.option("--must-support", is_flag=True, help="Tell which elements that a profile marks so are left out")
@with_settings("capability", "plugin", "package_folder")
def validate(
    settings: Settings, paths: tuple[str, ...], profiles: tuple[str, ...], format: str, must_support: bool
) -> None:
    """Check resources against FHIR R4, their profiles and the rules of plugins (.json, .ndjson, .jsonl, also .gz;
    folders: all of them within).

    Exit status 1 when a resource has an error."""
    files = find_files(paths)
    if not files:
        raise StartupError(f"{', '.join(paths)}: there is no file to check ({', '.join(SUFFIXES)}, or these with .gz).")
    checker, report = Checker(Deployment.of(settings), profiles, must_support=must_support), Report(format)
    for file in files:
        for line, raw in read_parts(file):
            report.note(checker.check(file, line, raw))
    report.end()
    if report.faulty:
        raise SystemExit(1)
