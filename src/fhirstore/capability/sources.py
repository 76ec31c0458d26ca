"""Where CapabilityStatements come from: a file, those that come with fhirstore, those of the loaded packages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError


def statement_folder() -> Path:
    """The statements that come with fhirstore: package data of an installed fhirstore, else the checkout's folder."""
    packaged = Path(str(files("fhirstore.capability"))) / "statements"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "capability"


def read_statement(source: str, catalog: Catalog) -> tuple[dict[str, Any], str]:
    """A CapabilityStatement and where it came from (for messages).

    source: the path of a file, the name of a statement that comes with fhirstore, or the url, id or name of one of a
    loaded package. Raises StartupError when there is none or when the file is not JSON."""
    path = Path(source)
    if path.suffix == ".json" or path.is_file():
        return _read_file(path, source), source
    found = find_statement(source, catalog)
    if found is None:
        known = ", ".join([*shipped_names(), *(str(s.get("url") or s.get("id")) for s in package_statements(catalog))])
        raise StartupError(
            f"CapabilityStatement {source}: neither a file nor one that comes with fhirstore or with a loaded "
            f"package (known: {known}). The plugin that defines it is loaded with --plugin NAME."
        )
    return found


def find_statement(reference: str, catalog: Catalog) -> tuple[dict[str, Any], str] | None:
    """A statement by the name of one that comes with fhirstore, or the url ("|version" allowed), id or name of one
    of a loaded package, with where it came from; None = there is none."""
    if reference in shipped_names():
        return _read_file(statement_folder() / f"{reference}.json", reference), f"capability/{reference}.json"
    found = catalog.resource("CapabilityStatement", reference)
    if found is None:
        named = (s for s in package_statements(catalog) if reference in (s.get("id"), s.get("name")))
        found = next(named, None)
    if found is None:
        return None
    return found, package_file(catalog, found) or reference


def shipped_names() -> list[str]:
    """Names of the statements that come with fhirstore."""
    return sorted(file.stem for file in statement_folder().glob("*.json"))


def package_statements(catalog: Catalog) -> Iterator[dict[str, Any]]:
    return package_resources(catalog, "CapabilityStatement")


def package_resources(catalog: Catalog, resource_type: str) -> Iterator[dict[str, Any]]:
    """The conformance resources of a type in all packages, in order."""
    return (r for package in catalog.packages for r in package.resources if r.get("resourceType") == resource_type)


def package_file(catalog: Catalog, resource: dict[str, Any]) -> str | None:
    """The file that a package's resource came from, for messages."""
    key = (str(resource.get("resourceType")), str(resource.get("url") or resource.get("id")))
    return next((package.where[key] for package in catalog.packages if key in package.where), None)


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
