"""Appointments whose practitioners and regulators are named by local references."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, issue
from support.bookings import IDNPS, OPERATOR, national, sas_appointment, slot
from support.outbox import Outbox, key

from fhirstore.http.app import make_app

RPPS = "810100050075"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
BASE = "https://agenda.example/fhir"
FR_V2_0203 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
EXPECTED = national(RPPS)


def practitioner(id: str = "p1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "id": id, "identifier": [national(RPPS)["identifier"]], **more}


def account(id: str, system: str, value: str) -> dict[str, Any]:
    code = "INTRN" if system == PLATFORM else "IDNPS"
    kind = {"coding": [{"system": FR_V2_0203, "code": code}]}
    return {
        "resourceType": "Practitioner",
        "id": id,
        "meta": {"source": PLATFORM},
        "identifier": [{"type": kind, "system": system, "value": value}],
        "active": True,
        "name": [{"family": "Contrôle", "given": ["Sas"]}],
        "telecom": [{"system": "email", "value": "a@b.example"}],
    }


def actor(reference: Any, status: str = "accepted", **more: Any) -> list[dict[str, Any]]:
    given = {"reference": reference} if isinstance(reference, str) else reference
    return [{"actor": {**given, **more}, "status": status}]


@pytest.fixture
def agenda(relaying: Api) -> Iterator[Api]:
    """A practitioner with a role, a schedule and two slots."""
    refs = [{"reference": "Practitioner/p1"}, {"reference": "PractitionerRole/r1"}]
    role = {"resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/p1"}}
    for one in (
        practitioner(),
        role,
        {"resourceType": "Schedule", "id": "1", "actor": refs},
        {"resourceType": "Schedule", "id": "2", "actor": refs[1:]},
        slot("s1"),
        slot("s2") | {"schedule": {"reference": "Schedule/2"}},
    ):
        assert relaying.put(f"{one['resourceType']}/{one['id']}", one).status_code == 201
    return iter([relaying])  # type: ignore[return-value]


@pytest.fixture
def api(agenda: Iterator[Api]) -> Api:
    return next(agenda)


def with_base(api: Api) -> Api:
    ctx = replace(api.ctx, settings=replace(api.ctx.settings, base_url=BASE))
    return Api(make_app(ctx), ctx)


def sent(api: Api, value: str = "1") -> dict[str, Any]:
    """The last message under an identifier."""
    message: dict[str, Any] = Outbox(api.ctx.store).payloads(key(value))[-1]["message"]
    return message


def actors(api: Api) -> list[Any]:
    return [one.get("actor") for one in sent(api)["participant"]]


# --- participants -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    ["Practitioner/p1", "Practitioner/p1/_history/1", "PractitionerRole/r1", "PractitionerRole/r1/_history/1"],
)
def test_a_practitioner_by_local_reference_reaches_the_platform(api: Api, reference: str) -> None:
    body = sas_appointment("1", id="a", participant=actor(reference, display="Dr Martin"))
    assert api.put("Appointment/a", body).status_code == 201
    assert sent(api)["participant"] == [{"actor": {**EXPECTED, "display": "Dr Martin"}, "status": "accepted"}]
    assert api.get("Appointment/a").get_json()["participant"] == body["participant"]


def test_status_type_and_period_of_the_participant_are_kept(api: Api) -> None:
    more = {
        "type": [{"coding": [{"code": "ATND"}]}],
        "required": "required",
        "status": "needs-action",
        "period": {"start": "2026-12-07"},
    }
    api.created(sas_appointment("1", participant=[{"actor": {"reference": "Practitioner/p1"}, **more}]))
    assert sent(api)["participant"] == [{"actor": EXPECTED, **more}]


def test_an_absolute_reference_to_this_server_is_local(api: Api) -> None:
    body = sas_appointment("1", participant=actor(f"{BASE}/Practitioner/p1"))
    refused = api.post("Appointment", body)
    assert refused.status_code == 422
    assert "refer to it as Practitioner/p1, or set base_url" in issue(refused)["diagnostics"]
    assert with_base(api).post("Appointment", body).status_code == 201
    assert actors(api) == [EXPECTED]


@pytest.mark.parametrize(
    "contained",
    [
        practitioner("x"),
        {"resourceType": "PractitionerRole", "id": "x", "practitioner": {"reference": "Practitioner/p1"}},
        {"resourceType": "PractitionerRole", "id": "x", "practitioner": national(RPPS)},
    ],
)
def test_a_contained_practitioner_is_named(api: Api, contained: dict[str, Any]) -> None:
    api.created(sas_appointment("1", contained=[contained], participant=actor("#x")))
    assert actors(api) == [EXPECTED]


def test_a_practitioner_of_the_same_transaction_is_named(api: Api) -> None:
    url = "urn:uuid:0b6b1f6e-0000-4000-8000-000000000001"
    new = {**practitioner(), "identifier": [national("810100050083")["identifier"]]}
    del new["id"]
    entries = [
        {"resource": sas_appointment("1", participant=actor(url)), "request": {"method": "POST", "url": "Appointment"}},
        {"fullUrl": url, "resource": new, "request": {"method": "POST", "url": "Practitioner"}},
    ]
    answer = api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    assert actors(api) == [national("810100050083")]


def test_a_conditional_reference_of_a_transaction_is_named(api: Api) -> None:
    body = sas_appointment("1", participant=actor(f"Practitioner?identifier={IDNPS}|{RPPS}"))
    entry = {"resource": body, "request": {"method": "POST", "url": "Appointment"}}
    assert api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status_code == 200
    assert actors(api) == [EXPECTED]


@pytest.mark.parametrize(
    "identifiers",
    [
        [{"system": "urn:oid:1.2.3", "value": "x"}, {"system": IDNPS, "value": RPPS}],
        [{"system": IDNPS, "value": RPPS[1:]}],
        [{"system": IDNPS, "value": "0351234567"}, {"system": IDNPS, "value": RPPS}],
        [{"type": {"coding": [{"code": "RPPS"}]}, "system": "http://rpps.fr", "value": RPPS[1:]}],
    ],
)
def test_the_identifier_is_that_of_responses_to_the_platform(api: Api, identifiers: list[Any]) -> None:
    api.put("Practitioner/p1", practitioner(identifier=identifiers))
    api.created(sas_appointment("1", participant=actor("Practitioner/p1")))
    assert actors(api) == [EXPECTED]


def test_a_practitioner_and_a_role_of_his_are_one_participant(api: Api) -> None:
    api.created(sas_appointment("1", participant=[*actor("Practitioner/p1"), *actor("PractitionerRole/r1")]))
    assert actors(api) == [EXPECTED]


def test_several_practitioners_are_all_named_in_order(api: Api) -> None:
    other = national("810100050083")
    api.put("Practitioner/p2", practitioner("p2", identifier=[other["identifier"]]))
    api.created(sas_appointment("1", participant=[*actor("Practitioner/p2"), *actor("Practitioner/p1")]))
    assert actors(api) == [other, EXPECTED]


def test_patients_and_places_beside_the_practitioner_are_left_out(api: Api) -> None:
    api.created(sas_appointment("1", participant=[*actor("Location/1"), *actor("Practitioner/p1")]))
    assert actors(api) == [EXPECTED]


@pytest.mark.parametrize(("of", "schedule"), [("s1", "practitioner and role"), ("s2", "role alone")])
@pytest.mark.parametrize(("status", "expected"), [("booked", "accepted"), ("pending", "needs-action")])
def test_without_a_practitioner_those_of_the_schedule_are_named(
    api: Api, of: str, schedule: str, status: str, expected: str
) -> None:
    more = {"slot": [{"reference": f"Slot/{of}"}], "participant": actor("Patient/1"), "status": status}
    api.created(sas_appointment("1", **more))
    assert sent(api)["participant"] == [{"actor": EXPECTED, "status": expected}], schedule


REFUSED: dict[str, tuple[Any, str]] = {
    "missing": ("Practitioner/no", "Practitioner/no does not exist"),
    "deleted": ("Practitioner/gone", "Practitioner/gone does not exist"),
    "no identifier": ("Practitioner/bare", "Practitioner/bare has no national identifier"),
    "role of nobody": ("PractitionerRole/lost", "PractitionerRole/lost names no Practitioner"),
    "missing role": ("PractitionerRole/no", "PractitionerRole/no does not exist"),
    "another server": ("https://other.example/fhir/Practitioner/p1", "resource of another server"),
    "by type alone": ({"type": "Practitioner", "display": "Dr Martin"}, "Dr Martin does not exist"),
    "no practitioner": ("Patient/1", "No participant is a practitioner"),
    "display alone": ({"display": "Dr Martin"}, "No participant is a practitioner"),
}


@pytest.mark.parametrize(("reference", "text"), REFUSED.values(), ids=REFUSED)
def test_who_cannot_be_named_is_refused_and_nothing_is_stored(api: Api, reference: Any, text: str) -> None:
    api.put("Practitioner/bare", {"resourceType": "Practitioner", "id": "bare", "name": [{"family": "Martin"}]})
    api.put("Practitioner/gone", practitioner("gone"))
    api.delete("Practitioner/gone")
    lost = {"resourceType": "PractitionerRole", "id": "lost", "practitioner": {"reference": "Practitioner/no"}}
    api.put("PractitionerRole/lost", lost)
    answer = api.post("Appointment", sas_appointment("1", participant=actor(reference)))
    assert (answer.status_code, issue(answer)["code"]) == (422, "business-rule")
    assert text in issue(answer)["diagnostics"]
    assert IDNPS in issue(answer)["diagnostics"]
    assert issue(answer)["expression"][0].startswith("Appointment.participant")
    assert api.ids("Appointment?_count=10") == []
    assert Outbox(api.ctx.store).payloads(key("1")) == []


def test_one_who_cannot_be_named_among_others_is_refused(api: Api) -> None:
    body = sas_appointment("1", participant=[*actor("Practitioner/p1"), *actor("Practitioner/no")])
    answer = api.post("Appointment", body)
    assert (answer.status_code, issue(answer)["expression"]) == (422, ["Appointment.participant[1].actor"])


def test_a_practitioner_of_the_schedule_who_cannot_be_named_is_refused(api: Api) -> None:
    api.delete("Practitioner/p1")
    body = sas_appointment("1", slot=[{"reference": "Slot/s1"}], participant=actor("Patient/1"))
    answer = api.post("Appointment", body)
    assert (answer.status_code, issue(answer)["expression"]) == (422, ["Appointment.slot[0]"])
    assert api.get("Slot/s1").get_json()["status"] == "free"


def test_the_dry_run_of_validate_refuses_alike(api: Api) -> None:
    body = sas_appointment("1", participant=actor("Practitioner/no"))
    outcome = api.post("Appointment/$validate?mode=create", body).get_json()
    assert any("Practitioner/no does not exist" in one["diagnostics"] for one in outcome["issue"])


def test_a_refusal_is_told_in_french(api: Api) -> None:
    body = sas_appointment("1", participant=actor("Practitioner/no"))
    answer = api.post("Appointment", body, **{"Accept-Language": "fr"})
    assert issue(answer)["diagnostics"].startswith("Practitioner/no n'existe pas sur ce serveur.")


def test_appointments_that_are_not_sent_need_no_name(api: Api) -> None:
    waiting = sas_appointment("1", status="waitlist", participant=actor("Practitioner/no"))
    assert api.post("Appointment", waiting).status_code == 201
    own = sas_appointment("2", participant=actor("Practitioner/no"))
    del own["extension"]
    assert api.post("Appointment", own).status_code == 201


@pytest.mark.parametrize("end", ["cancelled", "entered-in-error", "DELETE"])
def test_an_appointment_can_be_cancelled_after_its_practitioner_is_gone(api: Api, end: str) -> None:
    body = sas_appointment("1", id="a", participant=actor("Practitioner/p1"))
    assert api.put("Appointment/a", body).status_code == 201
    api.delete("Practitioner/p1")
    changed = api.put("Appointment/a", {**body, "comment": "x"})
    assert changed.status_code == 422
    last = api.delete("Appointment/a") if end == "DELETE" else api.put("Appointment/a", {**body, "status": end})
    assert last.status_code in (200, 204), last.text
    assert (sent(api)["status"], actors(api)) == ("cancelled", [EXPECTED])


# --- the regulator ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "value"), [(IDNPS, "3456780581/11242343"), (PLATFORM, "b6e39355-8a61-4556-b340-36f7b95fec6a")]
)
def test_a_regulator_by_local_reference_is_named(api: Api, system: str, value: str) -> None:
    stored = account("reg", system, value)
    assert api.put("Practitioner/reg", stored).status_code == 201
    body = sas_appointment(
        "1", id="a", extension=[{"url": OPERATOR, "valueReference": {"reference": "Practitioner/reg"}}]
    )
    answer = api.put("Appointment/a", body, Prefer="return=OperationOutcome")
    assert answer.status_code == 201, answer.text
    assert issue(answer)["diagnostics"] == "The identifier of Practitioner/reg was added."
    assert sent(api)["extension"] == [{"url": OPERATOR, "valueReference": {"identifier": stored["identifier"][0]}}]
    reference = api.get("Appointment/a").get_json()["extension"][0]["valueReference"]
    assert reference == {"reference": "Practitioner/reg", "identifier": stored["identifier"][0]}


@pytest.mark.parametrize(
    "reference",
    [{"reference": "Practitioner/no"}, {"reference": "https://other.example/fhir/Practitioner/1"}, {"display": "x"}],
)
def test_a_regulator_who_cannot_be_named_is_refused(api: Api, reference: dict[str, str]) -> None:
    body = sas_appointment("1", extension=[{"url": OPERATOR, "valueReference": reference}])
    answer = api.post("Appointment", body)
    assert answer.status_code == 422
    texts = [one["diagnostics"] for one in answer.get_json()["issue"]]
    assert any(f"national (system {IDNPS}) or technical (system {PLATFORM})" in text for text in texts)


# --- every element of SPEC §6 -------------------------------------------------------------------

CLAIM = {"profile": ["http://sas.fr/fhir/StructureDefinition/FrAppointmentSAS"]}
CODED = {"coding": [{"system": "urn:oid:1.2.3", "code": "x"}], "text": "x"}
ELEMENTS: dict[str, Any] = {
    "status": ["booked", "fulfilled", "noshow", "cancelled", "pending", "arrived", "free", None],
    "start": ["2026-12-07T08:00:00Z", "2026-12-07T09:00:00.5+01:00", "2026-12-07", "2026-12-07T10:00:00+01:00", None],
    "end": ["2026-12-07T08:30:00Z", "2026-12-07T09:30:00.123456+01:00", "2026-12-07T09:00:00+01:00", "soon", None],
    "created": ["2026-12-01", "2026-12-01T08:00:00.250+01:00", "2026", "yesterday", None],
    "identifier": [
        [{"system": "urn:oid:1.2.3.4", "value": "1", "use": "official", "type": CODED}],
        [{"system": "urn:oid:1.2.3.4", "value": "1", "period": {"start": "2026"}}],
        [{"value": "1"}],
        [{"system": "urn:oid:1.2.3.4", "value": "1"}, {"system": "urn:oid:1.2.3.4", "value": "2"}],
        None,
    ],
    "extension": [
        [{"url": OPERATOR, "valueReference": national("3456780581/11242343")}],
        [{"url": OPERATOR, "valueReference": {**national("810002673899"), "display": "Regulator"}}],
        [{"url": OPERATOR, "valueString": "x"}],
        [],
        None,
    ],
    "participant": [
        [{"actor": national(RPPS), "status": "needs-action"}],
        [{"actor": national(RPPS), "status": "accepted"}, {"actor": national("810100050083"), "status": "accepted"}],
        [{"type": [CODED], "status": "needs-action"}],
        [{"actor": national(RPPS), "status": "declined"}],
        [{"actor": national(RPPS)}],
        [],
        None,
    ],
    "specialty": [[{"text": "y"}]],
    "serviceType": [[CODED]],
    "appointmentType": [CODED],
    "minutesDuration": [20, 0],
    "priority": [3, -1],
    "modifierExtension": [[{"url": "urn:x", "valueBoolean": True}]],
    "implicitRules": ["urn:x"],
}
SENT_OTHERWISE = {("status", "arrived"): "booked"}
"""docs/sas/relay.md."""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ELEMENTS.items() for value in values])
def test_the_platform_gets_what_the_editor_wrote_or_the_write_is_refused(relaying: Api, name: str, value: Any) -> None:
    body = sas_appointment("1", id="a", meta=CLAIM)
    body.pop(name, None)
    if value is not None:
        body[name] = value
    answer = relaying.put("Appointment/a", body)
    if answer.status_code >= 400:
        assert answer.status_code in (400, 422)
        assert "expression" in issue(answer)
        assert relaying.get("Appointment/a").status_code == 404
        return
    assert sent(relaying).get(name) == SENT_OTHERWISE.get((name, str(value)), value)


REFUSED_VALUES = [
    ("status", "free"),
    ("status", None),
    ("start", "2026-12-07"),
    ("start", "2026-12-07T10:00:00+01:00"),
    ("start", None),
    ("end", "2026-12-07T09:00:00+01:00"),
    ("end", "soon"),
    ("end", None),
    ("created", "yesterday"),
    ("identifier", None),
    ("extension", None),
    ("participant", None),
    ("modifierExtension", [{"url": "urn:x", "valueBoolean": True}]),
    ("implicitRules", "urn:x"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED_VALUES)
def test_elements_that_the_platform_cannot_get_are_refused(relaying: Api, name: str, value: Any) -> None:
    body = sas_appointment("1", meta=CLAIM)
    body.pop(name, None)
    if value is not None:
        body[name] = value
    assert relaying.post("Appointment", body).status_code in (400, 422)


def test_a_modifier_of_a_participant_is_refused(relaying: Api) -> None:
    modified = [
        {"actor": national(RPPS), "status": "accepted", "modifierExtension": [{"url": "u:x", "valueCode": "x"}]}
    ]
    answer = relaying.post("Appointment", sas_appointment("1", participant=modified))
    assert (answer.status_code, issue(answer)["code"]) == (422, "not-supported")
    assert issue(answer)["expression"] == ["Appointment.participant[0].modifierExtension"]
