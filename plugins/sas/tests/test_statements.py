"""sas-editor and sas-platform declare all that the statements of the guide do (SPEC §15), and more (§20, no. 32)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.api import Template

SASFR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
R4 = "http://hl7.org/fhir/SearchParameter/"
START = "https://interop.esante.gouv.fr/ig/fhir/sas/SearchParameter/slot-sp-start"
READ = {"read", "search-type"}
WRITE = {"create", "update"}
PS_SLOT = {"Slot:schedule", "Schedule:actor"}
CPTS_SLOT = PS_SLOT | {"Slot:service-type-reference", "HealthcareService:organization"}

# deployment, type, profile, interactions, definitions of search parameters, includes, reverse includes
DECLARED: list[tuple[str, str, str, set[str], set[str], set[str], set[str]]] = [
    ("sas-editor", "Slot", SASFR + "FrSlotAgregateur", READ, {START}, PS_SLOT, set()),
    ("sas-editor", "Slot", SAS + "sas-cpts-slot-aggregator", READ, {START}, CPTS_SLOT, set()),
    ("sas-editor", "Slot", SAS + "sas-sos-slot-aggregator", READ, {START}, set(), set()),
    ("sas-editor", "Schedule", SASFR + "FrScheduleAgregateur", READ, {R4 + "Schedule-actor"}, set(), set()),
    (
        "sas-editor",
        "Schedule",
        SAS + "sas-sos-schedule-aggregator",
        READ,
        {R4 + "Schedule-actor"},
        {"Schedule:actor:Location", "Location:organization"},
        {"Slot:schedule"},
    ),
    (
        "sas-editor",
        "Practitioner",
        SASFR + "FrPractitionerAgregateur",
        READ,
        {R4 + "Practitioner-identifier"},
        set(),
        set(),
    ),
    ("sas-editor", "Practitioner", SAS + "FrPractitionerRegul", WRITE, {R4 + "Practitioner-identifier"}, set(), set()),
    ("sas-editor", "Location", SAS + "sas-sos-location-aggregator", READ, {R4 + "Location-organization"}, set(), set()),
    (
        "sas-editor",
        "Organization",
        SAS + "sas-sos-organization-aggregator",
        READ,
        {R4 + "Organization-identifier"},
        set(),
        set(),
    ),
    ("sas-platform", "Appointment", SASFR + "FrAppointmentSAS", WRITE, {R4 + "Appointment-identifier"}, set(), set()),
    ("sas-platform", "Appointment", SAS + "sas-sos-appointment", WRITE, {R4 + "Appointment-identifier"}, set(), set()),
    # SPEC §20, no. 32: what the statement of CPTS lacks
    ("sas-editor", "Slot", SASFR + "FrSlotAgregateur", READ, {R4 + "Slot-status"}, set(), set()),
    ("sas-editor", "HealthcareService", SAS + "sas-cpts-healthcareservice-aggregator", READ, set(), set(), set()),
    ("sas-editor", "Organization", SAS + "sas-cpts-organization-aggregator", READ, set(), set(), set()),
    ("sas-editor", "PractitionerRole", SASFR + "FrPractitionerRoleExerciceAgregateur", READ, set(), set(), set()),
]
FLAGS = [("sas-editor", "Practitioner"), ("sas-platform", "Appointment")]
OF_THE_GUIDE = {
    "SAS-GestionnaireAgenda-PsIndiv": "sas-editor",
    "SAS-GestionnaireAgenda-CPTS": "sas-editor",
    "SAS-GestionnaireAgenda-SOS": "sas-editor",
    "SAS-GestionnaireStructure": "sas-editor",
    "SAS-GestionnaireAgenda-RDVpsindiv": "sas-platform",
    "SAS-GestionnaireAgenda-RDVSOS": "sas-platform",
}


@pytest.fixture(scope="module")
def effective() -> dict[str, dict[str, Any]]:
    """What /metadata says, by deployment."""
    made = {}
    for name in ("sas-editor", "sas-platform"):
        registry = Template.make(plugins=("sas",), capability=name).ctx.registry
        made[name] = dict(registry.statement)
    return made


def resource(statement: dict[str, Any], type: str) -> dict[str, Any]:
    (found,) = [r for r in statement["rest"][0]["resource"] if r["type"] == type]
    assert isinstance(found, dict)
    return found


def profiles(of: dict[str, Any]) -> set[str]:
    return {of.get("profile", ""), *of.get("supportedProfile", ())}


@pytest.mark.parametrize(
    "row", DECLARED, ids=lambda row: f"{row[0]} {row[1]} {row[2].rpartition('/')[2]} {len(row[4])}"
)
def test_what_the_guide_declares_is_declared(effective: dict[str, dict[str, Any]], row: Any) -> None:
    deployment, type, profile, interactions, definitions, includes, reverse = row
    ours = resource(effective[deployment], type)
    assert profile in profiles(ours)
    assert interactions <= {i["code"] for i in ours["interaction"]}
    assert definitions <= {p.get("definition") for p in ours["searchParam"]}
    assert includes <= set(ours.get("searchInclude", ()))
    assert reverse <= set(ours.get("searchRevInclude", ()))


@pytest.mark.parametrize(("deployment", "type"), FLAGS)
def test_conditional_updates_create(effective: dict[str, dict[str, Any]], deployment: str, type: str) -> None:
    ours = resource(effective[deployment], type)
    assert (ours["conditionalUpdate"], ours["updateCreate"]) == (True, True)


def test_the_reverse_chain_of_sos_is_declared(effective: dict[str, dict[str, Any]]) -> None:
    told = {p["name"] for p in resource(effective["sas-editor"], "Schedule")["searchParam"]}
    assert any(name.startswith("_has") for name in told)


@pytest.mark.parametrize("name", ["sas-editor", "sas-platform"])
def test_format_version_and_cors_are_those_of_the_guide(effective: dict[str, dict[str, Any]], name: str) -> None:
    ours = effective[name]
    assert ours["fhirVersion"] == "4.0.1"
    assert "application/fhir+json" in ours["format"]
    assert ours["rest"][0].get("security", {}).get("cors", False) is False


@pytest.mark.parametrize("id", OF_THE_GUIDE)
def test_the_official_statements_are_contained(effective: dict[str, dict[str, Any]], guide: Path, id: str) -> None:
    theirs = json.loads((guide / "conformance" / f"CapabilityStatement-{id}.json").read_bytes())
    for wanted in theirs["rest"][0]["resource"]:
        ours = resource(effective[OF_THE_GUIDE[id]], wanted["type"])
        assert wanted["profile"] in profiles(ours)
        assert {i["code"] for i in wanted["interaction"]} <= {i["code"] for i in ours["interaction"]}
        definitions = {p["definition"] for p in wanted.get("searchParam", ()) if "definition" in p}
        assert definitions <= {p.get("definition") for p in ours["searchParam"]}, wanted["type"]
        for name in ("searchInclude", "searchRevInclude"):
            assert set(wanted.get(name, ())) <= set(ours.get(name, ())), (wanted["type"], name)
        for flag in ("conditionalUpdate", "updateCreate"):
            assert wanted.get(flag, False) in (False, ours.get(flag))
