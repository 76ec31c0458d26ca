"""Finds CapabilityStatements: in files, among the built-in ones, and in the loaded packages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError

STATEMENT = "CapabilityStatement"


def statement_folder() -> Path:
    """The folder of the built-in statements: package data if fhirstore is installed, else a folder of the checkout."""
    packaged = Path(str(files("fhirstore.capability"))) / "statements"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "capability"


def read_statement(source: str, catalog: Catalog) -> tuple[dict[str, Any], str]:
    """A CapabilityStatement and its place, for messages.

    source: the path of a file, the name of a built-in statement, or the url, id or name of a statement of a package,
    optionally with |version. Raises StartupError if it is unknown or ambiguous, or if the file is not JSON."""
    path = Path(source)
    if path.suffix == ".json" or path.is_file():
        return _read_file(path, source), source
    found = find_statement(source, catalog)
    if found is None:
        known = ", ".join([*shipped_names(), *(_canonical(s) for s in package_resources(catalog, STATEMENT))])
        raise StartupError(
            f"CapabilityStatement {source}: neither a file nor a known statement (known: {known}). Load its package "
            "with --plugin NAME, or install it with fhirstore package add."
        )
    return found


def find_statement(reference: str, catalog: Catalog) -> tuple[dict[str, Any], str] | None:
    """The statement and its place, or None.

    reference: the name of a built-in statement, or the url, id or name of a statement of a package. "|version" is that
    of the statement; without it the latest version is returned. Raises StartupError if statements with different urls
    have the id or name."""
    if reference in shipped_names():
        return _read_file(statement_folder() / f"{reference}.json", reference), f"capability/{reference}.json"
    found = catalog.resource(STATEMENT, reference) or _by_id_or_name(reference, catalog)
    return None if found is None else (found, catalog.file(found) or reference)


def _by_id_or_name(reference: str, catalog: Catalog) -> dict[str, Any] | None:
    name, _, version = reference.partition("|")
    found = [s for s in package_resources(catalog, STATEMENT) if name in (s.get("id"), s.get("name"))]
    urls = sorted({str(s["url"]) for s in found})
    if len(urls) > 1:
        raise StartupError(
            f"CapabilityStatement {reference}: the name is ambiguous. Use one of the urls: {', '.join(urls)}."
        )
    return catalog.resource(STATEMENT, f"{urls[0]}|{version}" if version else urls[0]) if urls else None


def _canonical(statement: Mapping[str, Any]) -> str:
    version = statement.get("version")
    return f"{statement.get('url')}|{version}" if version else str(statement.get("url"))


def shipped_names() -> list[str]:
    """The names of the built-in statements."""
    return sorted(file.stem for file in statement_folder().glob("*.json"))


def package_resources(catalog: Catalog, resource_type: str) -> Iterator[dict[str, Any]]:
    """The conformance resources of a type in all packages, in order."""
    return (r for package in catalog.packages for r in package.resources if r.get("resourceType") == resource_type)


def added_resources(catalog: Catalog, resource_type: str) -> Iterator[dict[str, Any]]:
    """The resources of a type in the packages whose definitions are added to the served ones."""
    return (r for package in catalog.contributing for r in package.resources if r["resourceType"] == resource_type)


def _read_file(path: Path, name: str) -> dict[str, Any]:
    try:
        statement = json.loads(path.read_bytes())
    except OSError as problem:
        raise StartupError(f"{name}: the file cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise StartupError(f"{name}: the file is not JSON: {problem}") from problem
    if not isinstance(statement, dict):
        raise StartupError(f"{name}: a JSON object is required, found {type(statement).__name__}")
    return statement
