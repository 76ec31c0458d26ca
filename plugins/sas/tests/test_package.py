"""The FHIR package: readable, complete in itself, as the generator makes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fhirstore_sas
from fhirstore.definitions.core import load
from fhirstore.definitions.packages import read_package
from fhirstore.fhirpath.search_expressions import compile_search_expression
from fhirstore.interactions.server import Server
from fhirstore.validation.structure import StructureValidator

PACKAGE = Path(next(iter(fhirstore_sas.packages())))
RESOURCES = {r["url"]: r for r in read_package(PACKAGE).resources}
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/"


def of(kind: str) -> list[dict[str, Any]]:
    return [r for r in RESOURCES.values() if r["resourceType"] == kind]


def test_package_is_for_r4() -> None:
    package = read_package(PACKAGE)
    assert (package.name, package.dependencies) == ("fhirstore.sas", {"hl7.fhir.r4.core": "4.0.1"})
    assert json.loads((PACKAGE / "package.json").read_bytes())["fhirVersions"] == ["4.0.1"]


def test_package_holds_the_eighteen_profiles_and_their_parents() -> None:
    resources = [s for s in of("StructureDefinition") if s["kind"] == "resource"]
    parents = {"http://hl7.org/fhir/StructureDefinition/Bundle"} | {s["url"] for s in resources}
    sas = [s for s in resources if "interopsante" not in s["url"]]
    assert len(sas) == 18
    assert all(s["baseDefinition"] in parents for s in sas)
    assert all(s["derivation"] == "constraint" and s["differential"]["element"] for s in sas)


@pytest.mark.parametrize("url", sorted(RESOURCES))
def test_every_resource_is_valid_r4(url: str) -> None:
    found = [i for i in StructureValidator(load()).validate(RESOURCES[url]) if i.is_error]
    assert found == []


def test_every_value_set_and_profile_named_by_the_sas_is_there() -> None:
    named: set[str] = set()
    for structure in of("StructureDefinition"):
        for element in structure["differential"]["element"]:
            named.add(element.get("binding", {}).get("valueSet", ""))
            for type in element.get("type", ()):
                named.update(type.get("profile", ()), type.get("targetProfile", ()))
    ours = {n for n in named if n.startswith((SAS, "http://sas.fr/"))}
    assert ours
    assert ours <= RESOURCES.keys()


def test_service_type_search_parameter_finds_the_cpts_service() -> None:
    parameter = RESOURCES[SAS + "SearchParameter/cptsslot-sp-servicetype"]
    slot = {
        "resourceType": "Slot",
        "serviceType": [
            {
                "extension": [
                    {
                        "url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType",
                        "valueReference": {"reference": "HealthcareService/1"},
                    }
                ]
            }
        ],
    }
    compiled = compile_search_expression(load(), "Slot", parameter["expression"])
    assert parameter["target"] == ["HealthcareService"]
    assert compiled.extract(slot) == [("Reference", {"reference": "HealthcareService/1"})]


def test_server_serves_the_search_parameters_of_the_package(server: Server) -> None:
    params = server.registry.types["Slot"].params
    assert params["service-type-reference"].targets == ("HealthcareService",)
    assert params["start"].single
    assert params["start"].instant


def test_committed_package_is_what_the_generator_writes(tmp_path: Path) -> None:
    generator = Path(__file__).resolve().parents[1] / "tools" / "build_package.py"
    subprocess.run([sys.executable, str(generator), str(tmp_path)], check=True, capture_output=True)
    made = {f.name: f.read_text(encoding="utf-8") for f in tmp_path.glob("*.json")}
    assert made == {f.name: f.read_text(encoding="utf-8") for f in PACKAGE.glob("*.json")}
