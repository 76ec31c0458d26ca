"""The platform's side of INT_R03 (SPEC §6) over HTTP: what editors send is received by the statement sas-platform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from support.process import Process
from support.sas_kit import IDNPS, SAS, SASFR, V2, Json, identifier
from support.shared import example, needs_examples

OPERATOR = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
EDITOR = "urn:oid:1.2.250.1.999.7"
PS, SOS = SASFR + "FrAppointmentSAS", SAS + "sas-sos-appointment"
PUT = {"Content-Type": "application/json", "Accept": "application/json+fhir"}


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("platform")
    store = () if request.param == "sqlite" else ("--store", request.getfixturevalue("replica").url(folder))
    server = Process(folder / "platform.db", "--plugin", "sas", "--capability", "sas-platform", *store, workers=1)
    yield server
    server.stop()


def appointment(value: str, profile: str | None = PS, **more: Any) -> Json:
    """One of a known practitioner, taken by a regulator with a national id."""
    by = {"identifier": identifier(IDNPS, "3456780581/11242343", V2, "IDNPS")}
    whom = {"identifier": identifier(IDNPS, "810100050075", V2, "IDNPS")}
    return {
        "resourceType": "Appointment",
        "id": "sender-1",
        **({"meta": {"profile": [profile]}} if profile else {}),
        "extension": [{"url": OPERATOR, "valueReference": by}],
        "identifier": [{"system": EDITOR, "value": value}],
        "status": "booked",
        "start": "2026-12-07T09:00:00+01:00",
        "end": "2026-12-07T09:15:00+01:00",
        "created": "2026-12-06T18:00:00+01:00",
        "participant": [{"actor": whom, "status": "accepted"}],
    } | more


def at_sos(value: str, profile: str | None = SOS, **more: Any) -> Json:
    """One of nobody known yet, taken by a regulator with a technical id."""
    by = {"identifier": identifier(PLATFORM, str(uuid4()), V2, "INTRN")}
    adm = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "ADM"}]}]
    return appointment(
        value,
        profile,
        extension=[{"url": OPERATOR, "valueReference": by}],
        status="pending",
        participant=[{"type": adm, "status": "needs-action"}],
        **more,
    )


def put(server: Process, value: str, body: Json, name: str = "identifier") -> tuple[int, dict[str, str], Any]:
    return server.call("PUT", f"Appointment?{name}={quote(f'{EDITOR}|{value}', safe='')}", body, PUT)


def found(server: Process, value: str) -> list[Json]:
    _, _, bundle = server.call("GET", f"Appointment?identifier={quote(f'{EDITOR}|{value}', safe='')}")
    return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest.mark.parametrize("make", [appointment, at_sos], ids=["PS", "SOS"])
@pytest.mark.parametrize("claims", [True, False], ids=["claimed", "told by its content"])
def test_an_appointment_is_created_with_both_profiles(platform: Process, make: Any, claims: bool) -> None:
    value = str(uuid4())
    body = make(value) if claims else make(value, None)
    status, headers, _ = platform.call("POST", "Appointment", body, PUT)
    assert status == 201
    location = headers["Location"]
    assert location.startswith(f"http://127.0.0.1:{platform.port}/fhir/Appointment/")
    assert "/_history/" not in location
    assert not location.endswith("/sender-1")
    status, _, read = platform.call("GET", "Appointment/" + location.rpartition("/")[2])
    assert (status, read["identifier"], read["start"]) == (200, body["identifier"], body["start"])


@pytest.mark.parametrize("name", ["identifier", "Identifier"])
def test_a_conditional_update_creates_then_updates_whatever_the_id_in_the_body(platform: Process, name: str) -> None:
    value = str(uuid4())
    created = put(platform, value, appointment(value), name)
    assert created[0] == 201
    changed = put(platform, value, appointment(value, status="cancelled", id="sender-2"), name)
    assert (changed[0], changed[1]["Location"]) == (200, created[1]["Location"])
    (kept,) = found(platform, value)
    assert (kept["status"], kept["id"]) == ("cancelled", created[1]["Location"].rpartition("/")[2])


def test_an_appointment_of_sos_goes_from_pending_to_booked_with_a_practitioner(platform: Process) -> None:
    value = str(uuid4())
    assert platform.call("POST", "Appointment", at_sos(value), PUT)[0] == 201
    known = at_sos(value) | {"status": "booked", "participant": appointment(value)["participant"]}
    assert put(platform, value, known)[0] == 200
    assert [one["status"] for one in found(platform, value)] == ["booked"]


@pytest.mark.parametrize("status", ["booked", "fulfilled", "noshow", "cancelled", "pending"])
def test_the_statuses_of_the_guide_are_taken(platform: Process, status: str) -> None:
    value = str(uuid4())
    assert put(platform, value, appointment(value, status=status))[0] == 201


def test_the_same_update_again_changes_nothing(platform: Process) -> None:
    value = str(uuid4())
    answers = [put(platform, value, appointment(value)) for _ in range(3)]
    assert [status for status, _, _ in answers] == [201, 200, 200]
    assert len({headers["Location"] for _, headers, _ in answers}) == 1
    assert [one["meta"]["versionId"] for one in found(platform, value)] == ["1"]


def test_several_matches_are_412_and_change_nothing(platform: Process) -> None:
    value = str(uuid4())
    for _ in range(2):
        assert platform.call("POST", "Appointment", appointment(value), PUT)[0] == 201
    status, _, outcome = put(platform, value, appointment(value, status="cancelled"))
    assert (status, outcome["issue"][0]["code"]) == (412, "multiple-matches")
    assert [one["status"] for one in found(platform, value)] == ["booked", "booked"]


WRONG = {
    "appointment-status": {"status": "waitlist"},
    "appointment-identifier": {"identifier": []},
    "appointment-extension": {"extension": [{"url": "http://example.org/other", "valueString": "x"}]},
    "appointment-end": {"end": None},
    "appointment-start": {"start": None},
}


@pytest.mark.parametrize("rule", WRONG)
def test_what_breaks_a_rule_is_422_with_its_name_and_nothing_is_stored(platform: Process, rule: str) -> None:
    value = str(uuid4())
    body = {k: v for k, v in (appointment(value) | WRONG[rule]).items() if v not in (None, [])}
    for status, _, outcome in (platform.call("POST", "Appointment", body, PUT), put(platform, value, body)):
        assert status == 422
        named = [c["code"] for i in outcome["issue"] for c in i.get("details", {}).get("coding", ())]
        assert rule in named
        assert all(i["diagnostics"] for i in outcome["issue"])
    assert found(platform, value) == []


def test_what_breaks_the_profile_is_422_with_the_place(platform: Process) -> None:
    value = str(uuid4())
    declined = appointment(value, participant=[{**appointment(value)["participant"][0], "status": "declined"}])
    status, _, outcome = put(platform, value, declined)
    assert (status, outcome["issue"][0]["expression"]) == (422, ["Appointment.participant[0].status"])


def test_what_is_no_fhir_is_400(platform: Process) -> None:
    status, _, outcome = platform.call("POST", "Appointment", ["no resource"], PUT)
    assert (status, outcome["resourceType"]) == (400, "OperationOutcome")


def test_other_types_and_deletions_are_refused(platform: Process) -> None:
    assert platform.call("GET", "Slot?status=free")[0] == 404
    value = str(uuid4())
    location = put(platform, value, appointment(value))[1]["Location"]
    assert platform.call("DELETE", "Appointment/" + location.rpartition("/")[2])[0] == 405


def test_metadata_declares_what_the_guide_asks_of_the_platform(platform: Process) -> None:
    status, _, statement = platform.call("GET", "metadata", headers={"Accept": "application/json+fhir"})
    ((resource,),) = [rest["resource"] for rest in statement["rest"]]
    assert (status, resource["type"]) == (200, "Appointment")
    assert set(resource["supportedProfile"]) >= {PS, SOS}
    assert {i["code"] for i in resource["interaction"]} >= {"create", "update", "read", "search-type"}
    assert (resource["conditionalUpdate"], resource["updateCreate"]) == (True, True)
    assert "identifier" in {p["name"] for p in resource["searchParam"]}


@needs_examples
@pytest.mark.parametrize("name", ["Appointment-1.json", "Appointment-2.json", "Appointment-12345678.json"])
def test_the_official_examples_are_received(platform: Process, name: str) -> None:
    body = example(name)
    one = body["identifier"][0]
    where = quote(f"{one['system']}|{one['value']}", safe="")
    assert platform.call("PUT", f"Appointment?identifier={where}", body, PUT)[0] in (200, 201)
