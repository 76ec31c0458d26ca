"""Which profiles bind on a write: messages always, answers where claimed, and text alone is let pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template
from support.cli import fhirstore

from fhirstore.interactions.write import validate
from fhirstore.model.context import RequestContext
from fhirstore.plugins import ProfileRequirement, Write
from fhirstore_sas.profile_requirements import adjust_requirements

SAS_FR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
OLD = "http://interopsante.org/fhir/StructureDefinition/"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
OPERATOR = OLD + "FrAppointmentOperator"
NATIONAL = {"coding": [{"system": "http://interopsante.org/fhir/CodeSystem/fr-v2-0203", "code": "IDNPS"}]}
NAMED = {"identifier": {"type": NATIONAL, "system": IDNPS, "value": "810100050075"}}
BUSY = {
    "resourceType": "Slot",
    "schedule": {"reference": "Schedule/1"},
    "status": "busy",
    "start": "2026-12-07T09:00:00.000+01:00",
    "end": "2026-12-07T09:20:00.000+01:00",
}


def appointment(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "extension": [{"url": OPERATOR, "valueReference": NAMED}],
        "identifier": [{"system": "urn:oid:1.2.3.4", "value": "42"}],
        "status": "booked",
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "participant": [{"actor": NAMED, "status": "accepted"}],
        **more,
    }


def chosen(resource: dict[str, Any], *demands: ProfileRequirement) -> list[tuple[str, str | None]]:
    found = list(demands)
    adjust_requirements(Write("create", resource["resourceType"], "x", resource), found)
    return [(d.profile, d.policy) for d in found]


def test_a_message_is_held_to_its_profile_whatever_it_claims() -> None:
    account = {"resourceType": "Practitioner", "meta": {"source": PLATFORM}}
    assert chosen(account) == [(SAS + "FrPractitionerRegul", "enforce")]
    assert chosen(appointment()) == [(SAS_FR + "FrAppointmentSAS", "enforce")]
    assert chosen({"resourceType": "Practitioner"}) == []
    assert chosen({"resourceType": "Appointment", "status": "booked"}) == []


def test_an_appointment_without_a_known_practitioner_is_one_with_sos_medecins() -> None:
    place = [{"type": [{"coding": [{"code": "ADM"}]}], "status": "needs-action"}]
    assert chosen(appointment(participant=place)) == [(SAS + "sas-sos-appointment", "enforce")]
    claiming = {"profile": [OLD + "sas-sos-appointment"]}
    assert chosen(appointment(meta=claiming)) == [(SAS + "sas-sos-appointment", "enforce")]


def test_answer_profiles_of_the_statement_only_warn_and_claimed_ones_bind() -> None:
    declared = ProfileRequirement(SAS_FR + "FrSlotAgregateur", "declared")
    claimed = ProfileRequirement(SAS_FR + "FrSlotAgregateur", "claimed")
    assert chosen(BUSY, declared) == [(SAS_FR + "FrSlotAgregateur", "warn")]
    assert chosen(BUSY, claimed) == [(SAS_FR + "FrSlotAgregateur", None)]


@pytest.mark.parametrize("base", [SAS_FR, SAS, OLD])
def test_a_profile_is_known_by_all_the_bases_that_the_guide_spells(base: str) -> None:
    assert chosen(BUSY, ProfileRequirement(base + "FrSlotAgregateur", "claimed")) == [
        (SAS_FR + "FrSlotAgregateur", None)
    ]


def test_profiles_of_others_are_left_alone() -> None:
    other = ProfileRequirement("http://example.org/StructureDefinition/FrSlotAgregateur", "claimed")
    found = [other]
    adjust_requirements(Write("create", "Slot", "x", BUSY), found)
    assert found == [other]


def test_a_busy_slot_is_stored_unless_it_claims_the_profile_of_answers(api: Api) -> None:
    assert api.post("Slot", BUSY).status_code == 201
    for base in (SAS_FR, OLD):
        refused = api.post("Slot", BUSY | {"meta": {"profile": [base + "FrSlotAgregateur"]}})
        assert refused.status_code == 422
        assert refused.get_json()["issue"][0]["expression"] == ["Slot.status"]


def test_a_specialty_in_words_is_let_pass_with_a_warning(api: Api) -> None:
    slot = BUSY | {
        "status": "free",
        "specialty": [{"text": "Médecine générale"}],
        "meta": {"profile": [SAS_FR + "FrSlotAgregateur"]},
        "comment": "https://agenda.example/rdv?lieu=1",
    }
    api.put("Schedule/1", {"resourceType": "Schedule", "id": "1", "actor": [{"display": "Dr Martin"}]})
    answer = api.post("Slot", slot, Prefer="return=OperationOutcome")
    assert answer.status_code == 201
    told = [i for i in answer.get_json()["issue"] if i["code"] != "business-rule"]
    assert [(i["severity"], i["expression"]) for i in told] == [("warning", ["Slot.specialty[0]"])]


def test_an_appointment_that_claims_nothing_is_held_to_its_profile(api: Api) -> None:
    assert api.post("Appointment", appointment()).status_code == 201
    wrong = appointment(participant=[{"actor": NAMED, "status": "declined"}])
    for answer in (
        api.post("Appointment", wrong),
        api.put("Appointment?identifier=urn:oid:1.2.3.4%7C42", wrong),
    ):
        assert answer.status_code == 422
        assert answer.get_json()["issue"][0]["expression"] == ["Appointment.participant[0].status"]


def test_the_statements_of_the_guide_store_busy_slots_with_warnings(tmp_path: Any) -> None:
    template = Template.make(plugins=("sas",), capability="SAS-GestionnaireAgenda-PsIndiv")
    write = Write("create", "Slot", "x", dict(BUSY))
    issues = validate(template.ctx, RequestContext(), write)
    assert {i.severity for i in issues} == {"warning"}
    of_profile = [i for i in issues if i.code != "business-rule"]
    assert [i.expression for i in of_profile] == [("Slot.status",)]


def test_the_command_line_chooses_and_applies_rules_as_a_write_does(tmp_path: Path) -> None:
    account = {
        "resourceType": "Practitioner",
        "meta": {"source": PLATFORM},
        "active": True,
        "identifier": [{"type": NATIONAL, "system": IDNPS, "value": "810100050075"}],
        "telecom": [{"system": "email", "value": "a@example.org"}],
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))

    without, with_plugin = fhirstore("validate", str(file)), fhirstore("validate", str(file), "--plugin", "sas")

    assert without.exit_code == 0, without.output
    assert with_plugin.exit_code == 1
    assert "Practitioner.name" in with_plugin.output
