"""Writes the FHIR package of the plugin from the tables beside this file: python tools/build_package.py [folder]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import fr_core
import operations
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


def files() -> dict[str, dict[str, Any]]:
    """The package by file name."""
    out: dict[str, dict[str, Any]] = {"package.json": MANIFEST}
    for module in (fr_core, sas_profiles, terminology, statements, operations):
        for resource in module.resources():
            out[f"{resource['resourceType']}-{resource['id']}.json"] = resource
    return out


def text(resource: dict[str, Any]) -> str:
    return json.dumps(resource, ensure_ascii=False, indent=1) + "\n"


def write(folder: Path) -> int:
    """Replaces the JSON files of the folder; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    made = files()
    for old in folder.glob("*.json"):
        if old.name not in made:
            old.unlink()
    for name, resource in made.items():
        (folder / name).write_text(text(resource), encoding="utf-8")
    return len(made)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE
    sys.stdout.write(f"{write(target)} files in {target}\n")
