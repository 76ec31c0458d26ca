"""docs/examples/json-plugin: how far JSON files alone reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.capability.registry import Registry
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.plugins.manager import Plugins

FOLDER = Path(__file__).resolve().parents[2] / "docs/examples/json-plugin"
BORN_IN_RENNES: dict[str, Any] = {
    "resourceType": "Patient",
    "extension": [
        {"url": "http://example.org/other", "valueAddress": {"city": "Brest"}},
        {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"city": "Rennes"}},
    ],
}


def registry(statement: str) -> Registry:
    catalog = Catalog(load(), Plugins.load([str(FOLDER)]).packages())
    return build_registry(catalog, *read_statement(statement, catalog))


@pytest.mark.parametrize("statement", ["clinic", "r4-full"])
def test_its_search_parameter_finds_the_city_in_the_extension(statement: str) -> None:
    param = registry(statement).types["Patient"].params["birthplace-city"]
    assert param.extract(BORN_IN_RENNES) == [("string", "Rennes")]
    assert param.extract({"resourceType": "Patient"}) == []


def test_its_own_statement_serves_patients_only_and_enforces_its_profile() -> None:
    clinic = registry("clinic")
    assert set(clinic.types) == {"Patient"}
    assert clinic.types["Patient"].profile == "https://example.org/fhir/StructureDefinition/identified-patient"
    assert set(clinic.types["Patient"].params) == {"identifier", "birthplace-city"}


def test_with_r4_full_its_profile_is_supported() -> None:
    patient = registry("r4-full").types["Patient"]
    assert (patient.profile, patient.supported_profiles) == (
        None,
        ("https://example.org/fhir/StructureDefinition/identified-patient",),
    )
