"""Which messages writes enqueue, and what they contain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, issue
from support.bookings import EDITOR, OPERATOR, national, sas_appointment, slot
from support.outbox import Outbox, key

from fhirstore.errors import FhirError, StartupError
from fhirstore.http.app import make_app
from fhirstore.interactions.server import Server
from fhirstore.jobs.records import ITEM
from fhirstore.plugins import Stored, Write
from fhirstore.plugins.manager import Plugins
from fhirstore_sas.configuration import SasConfiguration
from fhirstore_sas.relay.outbox import message_for, message_of, unique_key
from fhirstore_sas.relay.send import relay_settings

SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
SAS_FR = "http://sas.fr/fhir/StructureDefinition/"


def messages_of(api: Api, value: str = "1") -> list[tuple[str, int, bool, str]]:
    """(appointment, version, first, status) of the messages under one identifier, in order."""
    found = Outbox(api.ctx.store).payloads(key(value))
    return [
        (one["appointment"], one["version"], one["is_new"] and one is found[0], one["message"]["status"])
        for one in found
    ]


def messages_about_a(api: Api) -> list[tuple[int, bool, str]]:
    return [(version, first, status) for appointment, version, first, status in messages_of(api) if appointment == "a"]


def told(api: Api) -> int:
    return len(api.ctx.store.records(ITEM))


def put(api: Api, **more: Any) -> int:
    status: int = api.put("Appointment/a", sas_appointment("1", id="a", **more)).status_code
    return status


# --- when ---------------------------------------------------------------------------------------


def test_a_creation_and_each_change_give_a_row(relaying: Api) -> None:
    assert [put(relaying), put(relaying, status="fulfilled")] == [201, 200]
    assert messages_about_a(relaying) == [(1, True, "booked"), (2, False, "fulfilled")]


def test_what_changes_nothing_gives_none(relaying: Api) -> None:
    assert [put(relaying), put(relaying)] == [201, 200]
    assert messages_about_a(relaying) == [(1, True, "booked")]


def test_what_is_refused_gives_none(relaying: Api) -> None:
    body = sas_appointment("1")
    del body["start"]
    assert relaying.post("Appointment", body).status_code == 422
    relaying.put("Slot/s", slot("s", "busy"))
    assert relaying.post("Appointment", sas_appointment("1", slot=[{"reference": "Slot/s"}])).status_code == 409
    assert told(relaying) == 0


def test_other_appointments_give_none(relaying: Api) -> None:
    body = {
        "resourceType": "Appointment",
        "status": "proposed",
        "participant": [{"status": "tentative", "required": "required", "actor": {"display": "x"}}],
    }
    assert relaying.post("Appointment", body).status_code == 201
    assert told(relaying) == 0


def test_without_a_relay_nothing_is_to_be_told(api: Api) -> None:
    assert put(api) == 201
    assert told(api) == 0
    assert api.post("Appointment", sas_appointment("1")).status_code == 201  # nor is the identifier ours to keep


@pytest.mark.parametrize("status", ["booked", "pending"])
def test_the_deletion_of_what_is_to_come_is_told_as_cancelled(relaying: Api, status: str) -> None:
    put(relaying, status=status)
    assert relaying.delete("Appointment/a").status_code == 204
    assert messages_about_a(relaying)[1:] == [(2, False, "cancelled")]


@pytest.mark.parametrize("status", ["fulfilled", "noshow", "cancelled"])
def test_the_deletion_of_what_is_past_is_not_told(relaying: Api, status: str) -> None:
    put(relaying, status=status)
    assert relaying.delete("Appointment/a").status_code == 204
    assert len(messages_about_a(relaying)) == 1


R4_STATUSES = (
    "proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error", "checked-in",
    "waitlist",
)  # fmt: skip
HANDLED = ("pending", "booked", "fulfilled", "cancelled", "noshow")
TOLD_INSTEAD = {
    "arrived": "booked", "checked-in": "booked", "proposed": None, "waitlist": None, "entered-in-error": None,
}  # fmt: skip


@pytest.mark.parametrize("status", R4_STATUSES)
def test_what_the_platform_is_told_of_each_status_at_first(relaying: Api, status: str) -> None:
    """The table of docs/sas/relay.md: the editor may use every status, the platform gets those that it handles."""
    assert put(relaying, status=status) == 201
    assert relaying.get("Appointment/a").get_json()["status"] == status
    told = TOLD_INSTEAD.get(status, status)
    assert messages_about_a(relaying) == ([] if told is None else [(1, True, told)])


@pytest.mark.parametrize("status", R4_STATUSES)
def test_what_the_platform_is_told_of_each_status_when_it_knows_the_appointment(relaying: Api, status: str) -> None:
    put(relaying)
    assert put(relaying, status=status, comment="x") == 200
    assert messages_about_a(relaying)[1:] == [(2, False, TOLD_INSTEAD.get(status, status) or "cancelled")]


@pytest.mark.parametrize("status", R4_STATUSES)
def test_a_platform_and_a_store_without_relay_take_the_handled_statuses_alone(api: Api, status: str) -> None:
    answer = api.put("Appointment/a", sas_appointment("1", id="a", status=status))
    assert answer.status_code == (201 if status in HANDLED else 422)
    if status not in HANDLED:
        assert issue(answer)["details"]["coding"][0]["code"] == "appointment-status"


@pytest.mark.parametrize("status", R4_STATUSES)
def test_an_appointment_of_the_editors_own_may_have_any_status(relaying: Api, status: str) -> None:
    body = sas_appointment("1", id="a", status=status)
    del body["extension"]
    assert relaying.put("Appointment/a", body).status_code == 201
    assert told(relaying) == 0


def test_a_status_that_is_told_otherwise_is_said_so(relaying: Api) -> None:
    body = sas_appointment("1", id="a", status="arrived")
    answer = relaying.put("Appointment/a", body, Prefer="return=OperationOutcome")
    assert (answer.status_code, issue(answer)["severity"]) == (201, "information")
    assert issue(answer)["diagnostics"] == "The platform does not handle the status arrived. It receives booked."
    gone = body | {"status": "waitlist"}
    french = relaying.put("Appointment/a", gone, Prefer="return=OperationOutcome", **{"Accept-Language": "fr"})
    assert issue(french)["diagnostics"] == (
        "La plateforme ne gère pas le statut waitlist. Elle reçoit cancelled, si elle connaît le rendez-vous."
    )
    judged = relaying.post("Appointment/$validate", body).get_json()
    assert [i["severity"] for i in judged["issue"]].count("error") == 1


@pytest.mark.parametrize("status", ["proposed", "waitlist", "entered-in-error"])
def test_what_the_platform_does_not_know_is_not_told_of_when_it_goes(relaying: Api, status: str) -> None:
    put(relaying, status=status)
    put(relaying, status=status, comment="x")
    relaying.delete("Appointment/a")
    assert told(relaying) == 0


def test_what_waited_and_is_booked_then_is_told_as_a_change(relaying: Api) -> None:
    put(relaying, status="waitlist")
    put(relaying)
    assert messages_about_a(relaying) == [(2, False, "booked")]


def test_an_appointment_that_is_made_again_is_a_change_to_the_platform(relaying: Api) -> None:
    put(relaying)
    relaying.delete("Appointment/a")
    put(relaying)
    assert messages_about_a(relaying) == [(1, True, "booked"), (2, False, "cancelled"), (3, False, "booked")]


def test_what_was_there_before_the_relay_may_be_known(relaying: Api, editor: Server) -> None:
    silent = Api(
        make_app(ctx := replace(relaying.ctx, settings=replace(relaying.ctx.settings, plugin_options=()))), ctx
    )
    assert put(silent) == 201
    assert put(relaying, status="fulfilled") == 200
    assert messages_about_a(relaying) == [(2, False, "fulfilled")]


def test_an_identifier_goes_from_one_appointment_to_the_next_in_order(relaying: Api) -> None:
    """As where an editor deletes and imports again."""
    put(relaying)
    relaying.delete("Appointment/a")
    new = relaying.created(sas_appointment("1"))["id"]
    assert [one[::3] for one in messages_of(relaying)] == [("a", "booked"), ("a", "cancelled"), (new, "booked")]


@pytest.mark.parametrize("end", ["DELETE", "PUT"])
def test_a_transaction_hands_an_identifier_on(relaying: Api, end: str) -> None:
    """The one that had it is deleted, or is no appointment of the SAS any more."""
    put(relaying)
    plain = {k: v for k, v in sas_appointment("1", id="a").items() if k != "extension"}
    entries = [
        {"request": {"method": end, "url": "Appointment/a"}} | ({"resource": plain} if end == "PUT" else {}),
        {"resource": sas_appointment("1"), "request": {"method": "POST", "url": "Appointment"}},
    ]
    answer = relaying.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    assert [(version, status) for _, version, _, status in messages_of(relaying)] == [(1, "booked"), (1, "booked")]


def test_an_appointment_that_comes_back_under_another_identifier_leaves_none_behind(relaying: Api) -> None:
    put(relaying)
    relaying.delete("Appointment/a")
    assert relaying.put("Appointment/a", sas_appointment("2", id="a")).status_code == 201
    assert [one[1:] for one in messages_of(relaying, "1")] == [(1, True, "booked"), (2, False, "cancelled")]
    assert [one[1:] for one in messages_of(relaying, "2")] == [(3, True, "booked")]


def test_a_transaction_gives_a_row_for_each(relaying: Api) -> None:
    entries = [
        {"resource": sas_appointment(str(n)), "request": {"method": "POST", "url": "Appointment"}} for n in range(3)
    ]
    relaying.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert told(relaying) == 3


def test_two_appointments_cannot_have_one_identifier(relaying: Api) -> None:
    put(relaying)
    answer = relaying.post("Appointment", sas_appointment("1"))
    assert (answer.status_code, issue(answer)["code"]) == (409, "duplicate")
    assert f"{EDITOR}|1" in issue(answer)["diagnostics"]


def test_an_appointment_keeps_its_identifier(relaying: Api) -> None:
    put(relaying)
    answer = relaying.put("Appointment/a", sas_appointment("2", id="a"))
    assert (answer.status_code, issue(answer)["code"]) == (422, "business-rule")
    assert issue(answer)["expression"] == ["Appointment.identifier[0]"]
    assert len(messages_about_a(relaying)) == 1


@pytest.mark.parametrize("identifier", [None, [], [{"value": "1"}], [{"system": "", "value": "1"}], ["x"], "x"])
def test_an_appointment_without_identifier_is_not_told(identifier: Any) -> None:
    """Possible where profiles are not enforced."""
    body = sas_appointment("1", identifier=identifier)
    with pytest.raises(FhirError) as refused:
        unique_key(body)
    assert refused.value.status == 422
    stored = Stored("Appointment", "a", 1, 0, False, "PUT", b"", json.dumps(body)[1:-1].encode())
    assert message_for(Write("delete", "Appointment", "a", None, stored)) is None


# --- what ---------------------------------------------------------------------------------------


def test_a_message_is_the_appointment_without_id_under_its_profile() -> None:
    sent = sas_appointment("1", id="a", created="2026-12-01T08:00:00+01:00")
    expected = {k: v for k, v in sent.items() if k != "id"} | {"meta": {"profile": [SAS_FR + "FrAppointmentSAS"]}}
    assert message_of(sent) == expected


def test_nothing_that_may_tell_of_the_patient_leaves() -> None:
    secret = "Madame Durand"
    message = message_of(
        sas_appointment(
            "1",
            text={"status": "generated", "div": f"<div>{secret}</div>"},
            contained=[{"resourceType": "Patient", "id": "p", "name": [{"text": secret}]}],
            description=secret,
            comment=secret,
            patientInstruction=secret,
            reasonCode=[{"text": secret}],
            reasonReference=[{"reference": "Condition/1", "display": secret}],
            supportingInformation=[{"reference": "Patient/1", "display": secret}],
            basedOn=[{"reference": "ServiceRequest/1", "display": secret}],
            slot=[{"reference": "Slot/1", "display": secret}],
            cancelationReason={"text": secret},
            meta={"tag": [{"display": secret}], "source": secret},
            participant=[
                {"actor": {"reference": "Patient/1", "display": secret}, "status": "accepted"},
                {"actor": {**national("810100050075"), "reference": "Practitioner/9"}, "status": "accepted"},
                {
                    "type": [{"text": "x"}],
                    "actor": {"identifier": {"system": "urn:ins", "value": secret}},
                    "status": "accepted",
                },
            ],
            extension=[
                {"url": OPERATOR, "valueReference": {**national("1"), "reference": "Practitioner/8"}},
                {"url": "https://editor.example/patient", "valueString": secret},
            ],
        )
    )
    assert secret not in str(message)
    assert [p["actor"] for p in message["participant"]] == [national("810100050075")]
    assert message["extension"] == [{"url": OPERATOR, "valueReference": national("1")}]


def test_a_cancellation_keeps_its_coded_reason() -> None:
    coding = [{"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "pat"}]
    message = message_of(sas_appointment("1", status="cancelled", cancelationReason={"coding": coding, "text": "x"}))
    assert message["cancelationReason"] == {"coding": coding}


def test_the_orientation_category_leaves_too() -> None:
    more = {"url": SAS + "sas-categorie-orientation", "valueCodeableConcept": {"coding": [{"code": "1"}]}}
    sent = sas_appointment("1")
    sent["extension"].append(more)
    assert message_of(sent)["extension"][1] == more


def test_with_sos_medecins_a_part_suffices() -> None:
    part = [{"type": [{"coding": [{"code": "ADM"}]}], "status": "needs-action"}]
    message = message_of(sas_appointment("1", participant=part))
    assert message["meta"]["profile"] == [SAS + "sas-sos-appointment"]
    assert message["participant"] == part


def test_a_message_is_what_a_platform_of_fhirstore_takes(relaying: Api, api: Api) -> None:
    relaying.put("Slot/s", slot("s"))
    put(relaying, slot=[{"reference": "Slot/s"}], comment="x", specialty=[{"text": "y"}])
    [payload] = Outbox(relaying.ctx.store).payloads(key("1"))
    message = payload["message"]
    assert api.post("Appointment", message).status_code == 201
    assert api.put(f"Appointment?identifier={EDITOR}|1", message).status_code == 200


# --- settings -----------------------------------------------------------------------------------


def test_the_defaults_are_no_relay() -> None:
    assert relay_settings(SasConfiguration()) is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            "sas.relay_url=platform",
            "sas.relay_url: 'platform' is not allowed. Use the base URL of the platform's FHIR server",
        ),
        ("sas.relay_url=http://platform.example/fhir", "only for a proxy on this machine"),
        ("sas.relay_url=https://p.example/fhir?x=y", "sas.relay_url"),
        ("sas.relay_cert=/nowhere.pem", "sas.relay_cert: '/nowhere.pem' is not allowed. Use a PEM file"),
        ("sas.relay_timeout=soon", "Use a number greater than 0 and of at most 1e+09 (default: 10)"),
        ("sas.relay_pause=0", "sas.relay_pause"),
        ("sas.relay_park_after=nan", "sas.relay_park_after"),
        ("sas.relay_in=nowhere", "Use serve or command (default: serve)"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(server: Server, given: str, text: str) -> None:
    with pytest.raises(StartupError) as caught:
        server.plugins.configure((given,))
    assert text in str(caught.value)


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    plugins = Plugins.load(("sas",))
    wrong = tmp_path / "no.pem"
    wrong.write_text("no certificate")
    for given, text in (
        ({"relay_url": "https://p.example"}, "sas.relay_cert: the platform requires a client certificate"),
        ({"relay_cert": str(wrong)}, "sas.relay_cert: requires sas.relay_url"),
        ({"relay_url": "http://localhost:1", "relay_key": str(wrong)}, "sas.relay_key: requires sas.relay_cert"),
        ({"relay_url": "https://p.example", "relay_cert": str(wrong)}, f"sas.relay_cert: {wrong}: no certificate"),
    ):
        with pytest.raises(StartupError) as caught:
            plugins.configure([f"sas.{k}={v}" for k, v in given.items()])
        assert text in str(caught.value)
