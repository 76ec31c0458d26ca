"""Where CapabilityStatements come from: a file, those that come with fhirstore, those of the loaded packages."""

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
    """The statements that come with fhirstore: package data of an installed fhirstore, else the checkout's folder."""
    packaged = Path(str(files("fhirstore.capability"))) / "statements"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "capability"


def read_statement(source: str, catalog: Catalog) -> tuple[dict[str, Any], str]:
    """A CapabilityStatement and where it came from (for messages).

    source: the path of a file, the name of a statement that comes with fhirstore, or the url, id or name of one of a
    package, each also with |version. Raises StartupError when there is none, when an id or name means several, or when
    the file is not JSON."""
    path = Path(source)
    if path.suffix == ".json" or path.is_file():
        return _read_file(path, source), source
    found = find_statement(source, catalog)
    if found is None:
        known = ", ".join([*shipped_names(), *(_canonical(s) for s in package_resources(catalog, STATEMENT))])
        raise StartupError(
            f"CapabilityStatement {source}: neither a file nor one that comes with fhirstore or with a package at "
            f"hand (known: {known}). What defines it is loaded with --plugin NAME, or installed with "
            "fhirstore package add."
        )
    return found


def find_statement(reference: str, catalog: Catalog) -> tuple[dict[str, Any], str] | None:
    """A statement by the name of one that comes with fhirstore, or the url, id or name of one of a package, with where
    it came from; None = there is none. "|version" is the statement's own; without it the latest is meant.

    Raises StartupError when statements with different urls have the id or name."""
    if reference in shipped_names():
        return _read_file(statement_folder() / f"{reference}.json", reference), f"capability/{reference}.json"
    found = catalog.resource(STATEMENT, reference) or _named(reference, catalog)
    return None if found is None else (found, catalog.file(found) or reference)


def _named(reference: str, catalog: Catalog) -> dict[str, Any] | None:
    name, _, version = reference.partition("|")
    found = [s for s in package_resources(catalog, STATEMENT) if name in (s.get("id"), s.get("name"))]
    urls = sorted({str(s["url"]) for s in found})
    if len(urls) > 1:
        raise StartupError(f"CapabilityStatement {reference}: several have this name; give one of {', '.join(urls)}.")
    return catalog.resource(STATEMENT, f"{urls[0]}|{version}" if version else urls[0]) if urls else None


def _canonical(statement: Mapping[str, Any]) -> str:
    version = statement.get("version")
    return f"{statement.get('url')}|{version}" if version else str(statement.get("url"))


def shipped_names() -> list[str]:
    """Names of the statements that come with fhirstore."""
    return sorted(file.stem for file in statement_folder().glob("*.json"))


def package_resources(catalog: Catalog, resource_type: str) -> Iterator[dict[str, Any]]:
    """The conformance resources of a type in all packages at hand, in order."""
    return (r for package in catalog.packages for r in package.resources if r.get("resourceType") == resource_type)


def added_resources(catalog: Catalog, resource_type: str) -> Iterator[dict[str, Any]]:
    """Those of the packages that add to what is served. Of several with one url the canonical says which is meant."""
    return (r for package in catalog.adding for r in package.resources if r["resourceType"] == resource_type)


def _read_file(path: Path, name: str) -> dict[str, Any]:
    try:
        statement = json.loads(path.read_bytes())
    except OSError as problem:
        raise StartupError(f"{name}: cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise StartupError(f"{name}: not JSON: {problem}") from problem
    if not isinstance(statement, dict):
        raise StartupError(f"{name}: a CapabilityStatement is expected, found {type(statement).__name__}")
    return statement
