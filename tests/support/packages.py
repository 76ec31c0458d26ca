"""FHIR packages that tests create."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from support.shared import SHARED

BASE = "http://example.org/fhir"
CORE = "http://hl7.org/fhir/StructureDefinition/"
SAS_IG = SHARED / "sas" / "ig"

Resource = dict[str, Any]


def tgz(path: Path | str, name: str, version: str, *resources: Resource, **manifest: Any) -> Path:
    """A .tgz as registries hold it, with the resources as package/Type-id.json; a dependency on R4 unless another is
    given."""
    about = {"name": name, "version": version, "fhirVersions": ["4.0.1"]}
    about |= {"dependencies": {"hl7.fhir.r4.core": "4.0.1"}} | manifest
    files = {"package.json": about} | {f"{r['resourceType']}-{r['id']}.json": r for r in resources}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for file, content in files.items():
            data = json.dumps(content, ensure_ascii=False).encode()
            info = tarfile.TarInfo(f"package/{file}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def profile(id: str = "named-patient", base: str = CORE + "Patient", **more: Any) -> Resource:
    """A profile of Patient that requires a name."""
    return {
        "resourceType": "StructureDefinition",
        "id": id,
        "url": f"{BASE}/StructureDefinition/{id}",
        "version": "1.0.0",
        "name": id.replace("-", "_"),
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "baseDefinition": base,
        "derivation": "constraint",
        "differential": {"element": [{"id": "Patient.name", "path": "Patient.name", "min": 1}]},
    } | more


def parameter(code: str = "shoe-size", expression: str = "Patient.maritalStatus.text", **more: Any) -> Resource:
    """A search parameter of Patient."""
    return {
        "resourceType": "SearchParameter",
        "id": code,
        "url": f"{BASE}/SearchParameter/{code}",
        "version": "1.0.0",
        "name": code.replace("-", "_"),
        "status": "active",
        "description": "A parameter of the test",
        "code": code,
        "base": ["Patient"],
        "type": "string",
        "expression": expression,
    } | more


def statement(id: str = "registry", *types: Resource, **more: Any) -> Resource:
    """A CapabilityStatement that serves these types (rest.resource)."""
    return {
        "resourceType": "CapabilityStatement",
        "id": id,
        "url": f"{BASE}/CapabilityStatement/{id}",
        "version": "1.0.0",
        "name": id.title().replace("-", ""),
        "status": "active",
        "date": "2026-01-01",
        "kind": "requirements",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "resource": list(types) or [served("Patient")],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
            }
        ],
    } | more


def served(type: str, *params: tuple[str, str, str], **more: Any) -> Resource:
    """A type with the interactions that tests use. params: (code, canonical, type)."""
    codes = ("read", "vread", "create", "update", "delete", "search-type")
    return {
        "type": type,
        "interaction": [{"code": c} for c in codes],
        "updateCreate": True,
        "searchParam": [{"name": c, "definition": d, "type": t} for c, d, t in params],
    } | more


def sas_dependencies(folder: Path) -> list[Path]:
    """The dependencies of the official SAS guide that are beside the checkout."""

    def resources(name: str) -> list[Resource]:
        found = [json.loads(f.read_text("utf-8")) for f in sorted((SAS_IG / name).glob("*.json"))]
        return [{"id": f"x{n}", **r} for n, r in enumerate(found) if "resourceType" in r]

    return [
        tgz(folder / "core.tgz", "hl7.fhir.fr.core", "1.1.0", *resources("fr-core")),
        tgz(folder / "terminology.tgz", "hl7.terminology.r4", "7.2.0", *resources("terminology")),
        tgz(folder / "extensions.tgz", "hl7.fhir.uv.extensions.r4", "5.3.0"),
    ]


def sas_guide(path: Path | str) -> Path:
    """The official SAS guide as a package, from the files beside the checkout."""
    manifest = json.loads((SAS_IG / "package.json").read_text("utf-8"))
    resources = [json.loads(f.read_text("utf-8")) for f in sorted((SAS_IG / "conformance").glob("*.json"))]
    name, version = manifest.pop("name"), manifest.pop("version")
    return tgz(path, name, version, *resources, **manifest)
