"""Appointments of the flow INT_R03 over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
OPERATOR = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
PROFILE = "http://sas.fr/fhir/StructureDefinition/FrAppointmentSAS"
EDITOR = "urn:oid:1.2.3.4"
NATIONAL = {"coding": [{"system": "http://interopsante.org/fhir/CodeSystem/fr-v2-0203", "code": "IDNPS"}]}


def named(value: str) -> dict[str, Any]:
    return {"identifier": {"type": NATIONAL, "system": IDNPS, "value": value}}


def appointment(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "id": "editor-1",
        "extension": [{"url": OPERATOR, "valueReference": named("810002673899")}],
        "identifier": [{"system": EDITOR, "value": "42"}],
        "status": "booked",
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "participant": [{"actor": named("810100050075"), "status": "accepted"}],
        **more,
    }


def test_creation_answers_a_location_without_version(api: Api) -> None:
    answer = api.post("Appointment", appointment())
    assert answer.status_code == 201
    assert "/_history/" not in answer.headers["Location"]


@pytest.mark.parametrize("name", ["identifier", "Identifier"])
def test_update_by_identifier_ignores_the_id_in_the_body(api: Api, name: str) -> None:
    created = api.put(f"Appointment?{name}={EDITOR}%7C42", appointment())
    assert created.status_code == 201
    assert not created.headers["Location"].endswith("editor-1")
    updated = api.put(f"Appointment?{name}={EDITOR}%7C42", appointment(status="cancelled"))
    assert (updated.status_code, updated.headers["Location"]) == (200, created.headers["Location"])


def test_update_of_another_appointment_follows_the_rules_of_fhir(api: Api) -> None:
    plain = {k: v for k, v in appointment().items() if k != "extension"}
    assert api.post("Appointment", plain).status_code == 201
    assert api.put(f"Appointment?identifier={EDITOR}%7C42", plain).status_code == 400


@pytest.mark.parametrize("name", ["identifier", "start", "end", "extension", "participant"])
def test_what_an_appointment_needs_is_refused_when_missing(api: Api, name: str) -> None:
    body = appointment(meta={"profile": [PROFILE]})
    del body[name]
    answer = api.post("Appointment", body)
    assert answer.status_code == 422
    assert f"Appointment.{name}" in [e for i in answer.get_json()["issue"] for e in i.get("expression", ())]


def test_two_identifiers_are_refused(api: Api) -> None:
    two = [{"system": EDITOR, "value": "42"}, {"system": EDITOR, "value": "43"}]
    assert api.post("Appointment", appointment(identifier=two)).status_code == 422


def test_appointments_outside_the_sas_need_nothing_of_all_this(api: Api) -> None:
    body = {
        "resourceType": "Appointment",
        "status": "proposed",
        "participant": [{"status": "tentative", "actor": {"display": "x"}}],
    }
    assert api.post("Appointment", body).status_code == 201
