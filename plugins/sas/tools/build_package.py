"""Writes the FHIR packages of the plugin from the tables beside this file: python tools/build_package.py [folder].

What differs in version 1.1.0 of the guide goes into FOLDER-1.1.0."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import fr_core
import operations
import previous
import sas_profiles
import statements
import terminology

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fhirstore_sas" / "package"
MANIFEST = {
    "name": "fhirstore.sas",
    "version": "0.1.0",
    "description": "Conformance resources of the SAS as fhirstore uses them, after ans.fhir.fr.sas 1.2.0",
    "type": "fhir.ig",
    "license": "Apache-2.0",
    "author": "The fhirstore authors",
    "fhirVersions": ["4.0.1"],
    "dependencies": {"hl7.fhir.r4.core": "4.0.1"},
}
PREVIOUS = {
    **MANIFEST,
    "name": "fhirstore.sas.previous",
    "description": f"What ans.fhir.fr.sas {previous.VERSION} states otherwise",
}


def files() -> dict[str, dict[str, Any]]:
    """The package by file name."""
    modules = (fr_core, sas_profiles, terminology, statements, operations)
    return _named(MANIFEST, (resource for module in modules for resource in module.resources()))


def previous_files() -> dict[str, dict[str, Any]]:
    """That of the differences."""
    return _named(PREVIOUS, previous.resources())


def _named(manifest: dict[str, Any], resources: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {"package.json": manifest} | {f"{one['resourceType']}-{one['id']}.json": one for one in resources}


def text(resource: dict[str, Any]) -> str:
    return json.dumps(resource, ensure_ascii=False, indent=1) + "\n"


def write(folder: Path, made: Mapping[str, dict[str, Any]]) -> int:
    """Replaces the JSON files of the folder; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, resource in made.items():
        (folder / name).write_text(text(resource), encoding="utf-8")
    return len(made)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    for folder, made in ((target, files()), (target.with_name(f"{target.name}-{previous.VERSION}"), previous_files())):
        sys.stdout.write(f"{write(folder, made)} files in {folder}\n")
