"""`fhirstore validate`: validates resources in files against R4 and profiles, without a store.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
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
from fhirstore.interactions.profiles import nested_requirements, profile_requirements, requested_requirements
from fhirstore.model.context import RequestContext
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.plugins.hooks import RequestHooks
from fhirstore.plugins.model import Write
from fhirstore.server import read_definitions
from fhirstore.settings import Settings
from fhirstore.validation.validator import ResourceValidator

_COLOURS = {"fatal": "bold red", "error": "red", "warning": "yellow", "information": "blue"}


@dataclass(frozen=True, slots=True)
class FileResult:
    """The issues of one resource.

    line: the line in an NDJSON file, else None. resource: Type/id, or the type alone without an id; None if the JSON is
    invalid.
    """

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
class OfflineServer:
    """The parts of a server that validation uses, without a store."""

    settings: Settings
    registry: Registry
    hooks: RequestHooks
    validator: ResourceValidator

    @classmethod
    def of(cls, settings: Settings) -> OfflineServer:
        """Raises StartupError."""
        plugins, catalog = read_definitions(settings)
        registry = build_registry(catalog, *read_statement(settings.capability, catalog), plugins.operations())
        hooks = plugins.request_hooks(plugins.contexts(settings.plugin_options, registry))
        return cls(settings, registry, hooks, ResourceValidator(catalog))


class FileValidator:
    """Validates against the structure of R4, against profiles, and against the rules of plugins.

    profiles: the profiles to use. Empty uses those of a write: the declared and claimed ones, and the choices of
    plugins. Raises StartupError if one of them is unavailable or faulty.
    """

    def __init__(self, server: OfflineServer, profiles: Sequence[str], *, must_support: bool = False):
        self._server, self._conformance = server, server.validator
        self._profiles, self._must_support = profiles, must_support
        for profile in profiles:
            if not self._conformance.knows(profile):
                raise StartupError(
                    f"--profile {profile}: no loaded package defines it. Load a plugin with --plugin, or install its "
                    "package with fhirstore package add."
                )
            self._conformance.profiles().compile(profile)

    def validate(self, file: Path, line: int | None, raw: bytes) -> FileResult:
        try:
            resource = parse(raw, self._server.settings.max_nesting)
        except FhirError as e:
            return FileResult(file, line, None, e.issues)
        name = "/".join(str(resource[key]) for key in ("resourceType", "id") if key in resource)
        type, id = (str(resource.get(key, "")) for key in ("resourceType", "id"))
        write = Write("validate", type, id, resource)
        requirements = self._requirements(write)
        nested = () if self._profiles else nested_requirements(self._server, RequestContext(), write)
        issues = self._conformance.validate(resource, requirements, nested)
        for hook, context in self._server.hooks.validate:
            issues += hook(RequestContext(), write, requirements, context) or ()
        if self._must_support:
            known = (d.profile for d in requirements if self._conformance.knows(d.profile))
            issues += (i for profile in known for i in self._conformance.profiles().must_support(resource, profile))
        return FileResult(file, line, name or None, tuple(dict.fromkeys(issues)))

    def _requirements(self, write: Write) -> list[ProfileRequirement]:
        if self._profiles:
            return [
                requirement
                for profile in self._profiles
                for requirement in requested_requirements(self._server, RequestContext(), write, profile)
            ]
        return profile_requirements(self._server, RequestContext(), write)


def read_parts(file: Path) -> Iterator[tuple[int | None, bytes]]:
    """(line number, JSON) for each non-empty line of an NDJSON file, (None, JSON) for another file.

    Raises StartupError if the file cannot be read.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            if file.name.removesuffix(".gz").endswith(LINES):
                yield from ((number, line) for number, line in enumerate(stream, 1) if line.strip())
            else:
                yield None, stream.read()
    except (OSError, EOFError, zlib.error) as e:
        raise StartupError(f"{file}: cannot read the file: {e}.") from e


class ValidationReport:
    """Prints the issues to stdout and counts them."""

    def __init__(self, format: str):
        self._json = format == "json"
        self._console = Console(highlight=False)
        self._resources = self.invalid = self._errors = self._warnings = 0

    def add(self, result: FileResult) -> None:
        errors = sum(i.is_error for i in result.issues)
        self._resources += 1
        self.invalid += errors > 0
        self._errors += errors
        self._warnings += sum(i.severity == "warning" for i in result.issues)
        if self._json:
            click.echo(json.dumps(result.to_json()))
            return
        for issue in result.issues:
            parts = (result.where, "  ", (issue.severity, _COLOURS[issue.severity]), "  ")
            self._print(*parts, f"{', '.join(issue.expression) or '-'}  {issue.diagnostics}")

    def end(self) -> None:
        if not self._json:
            counts = f"{self.invalid} with errors, {self._errors} errors, {self._warnings} warnings"
            self._print(f"{self._resources} resources, {counts}")

    def _print(self, *parts: str | tuple[str, str]) -> None:
        shown = (_escape(part) if isinstance(part, str) else part for part in parts)
        self._console.print(Text.assemble(*shown), soft_wrap=True)


def _escape(text: str) -> str:
    """Escapes control characters, which could break the line or control the terminal. The text quotes the files."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILES...")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="CANONICAL",
    help="Validate against this profile instead of the profiles of a write. Repeatable.",
)
@click.option(
    "--format", "format", type=click.Choice(("text", "json")), default="text", show_default=True, help="Output format."
)
@click.option("--must-support", is_flag=True, help="Also list the absent mustSupport elements.")
@with_settings("capability", "plugin", "package_folder")
def validate(
    settings: Settings, paths: tuple[str, ...], profiles: tuple[str, ...], format: str, must_support: bool
) -> None:
    """Validate resources against R4 and profiles.

    The rules of plugins apply too. FILES are .json, .ndjson and .jsonl files, each also with .gz, and folders of them.
    The exit status is 1 if a resource has an error."""
    files = find_files(paths)
    if not files:
        raise StartupError(f"{', '.join(paths)}: no files to validate ({', '.join(SUFFIXES)}, each also with .gz).")
    validator, report = (
        FileValidator(OfflineServer.of(settings), profiles, must_support=must_support),
        ValidationReport(format),
    )
    for file in files:
        for line, raw in read_parts(file):
            report.add(validator.validate(file, line, raw))
    report.end()
    if report.invalid:
        raise SystemExit(1)
