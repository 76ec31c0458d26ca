"""`$sas-check`: what is not shown and why, and what is sent though something is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.api import Api, Template

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
R314 = "https://mos.esante.gouv.fr/NOS/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
R66 = "https://mos.esante.gouv.fr/NOS/TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
PLACE_TYPE = "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type"
PLACE_ID = {
    "type": {"coding": [{"system": PLACE_TYPE, "code": "INTRN"}]},
    "system": "https://agenda.example/lieux",
    "value": "1",
}
WINDOW = "start=2026-12-07T00:00:00%2B01:00&end=2026-12-08T00:00:00%2B01:00"


@pytest.fixture(scope="module")
def editor() -> Template:
    return Template.make(plugins=("sas",), capability="sas-editor")


@pytest.fixture
def agenda(editor: Template, tmp_path: Path) -> Iterator[Api]:
    """Two practitioners, p and q, each with a role, a schedule and a slot, that have no fault."""
    api = editor.fresh(tmp_path / "inspection.db")
    for person, rpps in (("p", "810002673899"), ("q", "810100050075")):
        named = {"type": concept(V2, "IDNPS"), "system": IDNPS, "value": rpps}
        put(api, "Practitioner", person, identifier=[named], name=[{"family": "Morvan", "given": ["Anne"]}])
        put(api, "PractitionerRole", person, **role(person))
        actors = [{"reference": f"Practitioner/{person}"}, {"reference": f"PractitionerRole/{person}"}]
        put(api, "Schedule", person, actor=actors)
        slot(api, person, person)
    yield api
    api.ctx.store.close()


def concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def role(person: str) -> dict[str, Any]:
    place = {
        "resourceType": "Location",
        "id": "l",
        "identifier": [PLACE_ID],
        "address": {"line": ["1 rue du Lac"], "city": "Rennes", "postalCode": "35000"},
    }
    structure = {"type": concept(V2, "IDNST"), "system": IDNST, "value": "1359900010"}
    return {
        "contained": [place],
        "practitioner": {"reference": f"Practitioner/{person}"},
        "organization": {"identifier": structure},
        "location": [{"reference": "#l"}],
    }


def sos_place(**more: Any) -> dict[str, Any]:
    address = {"line": ["2 quai"], "city": "Lorient", "postalCode": "56100"}
    return {"name": "Centre", "identifier": [PLACE_ID], "address": address} | more


def put(api: Api, type: str, id: str, **body: Any) -> None:
    answer = api.put(f"{type}/{id}", {"resourceType": type, "id": id, **body})
    assert answer.status_code in (200, 201), answer.text


def slot(api: Api, id: str, schedule: str, label: str = "PUBLIC", **more: Any) -> None:
    body = {
        "meta": {"security": [{"system": R314, "code": label}]},
        "serviceType": [concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB")],
        "appointmentType": concept("http://terminology.hl7.org/CodeSystem/v2-0276", "ROUTINE"),
        "schedule": {"reference": f"Schedule/{schedule}"},
        "status": "free",
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "comment": "https://agenda.example/rdv?lieu=1",
    }
    put(api, "Slot", id, **body | more)


def check(api: Api, more: str = "", path: str = "$sas-check") -> dict[str, Any]:
    """The out parameters; findings as a list of their parts."""
    answer = api.get(f"{path}?{WINDOW}{more}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = {"finding": []}
    for one in answer.get_json()["parameter"]:
        if one["name"] == "finding":
            found["finding"].append({p["name"]: value(p) for p in one["part"]})
        else:
            found[one["name"]] = value(one)
    return found


def value(parameter: dict[str, Any]) -> Any:
    return next(v for k, v in parameter.items() if k.startswith("value"))


def told(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(f["rule"], f["resource"]["reference"], f["left-out"]) for f in found["finding"]]


@pytest.mark.parametrize("path", ["$sas-check", "Slot/$sas-check"])
def test_a_sound_agenda_gives_no_finding(agenda: Api, path: str) -> None:
    found = check(agenda, path=path)
    assert (found["examined"], found["left-out"], found["finding"]) == (2, 0, [])
    assert (found["start"], found["end"]) == ("2026-12-07T00:00:00.000+01:00", "2026-12-08T00:00:00.000+01:00")


def test_each_broken_chain_has_its_reason(agenda: Api) -> None:
    put(agenda, "Practitioner", "unknown", identifier=[{"system": "https://agenda.example", "value": "1"}])
    for id, *refs in (
        ("no-role", "Practitioner/p"),
        ("no-practitioner", "PractitionerRole/p"),
        ("no-such-role", "Practitioner/p", "PractitionerRole/nobody"),
        ("no-identifier", "Practitioner/unknown", "PractitionerRole/p"),
    ):
        put(agenda, "Schedule", id, actor=[{"reference": ref} for ref in refs])
        slot(agenda, id, id)
    slot(agenda, "no-schedule", "nowhere")
    found = check(agenda)
    assert {f for f in told(found) if f[2]} == {
        ("chain-role", "Schedule/no-role", True),
        ("chain-practitioner", "Schedule/no-practitioner", True),
        ("chain-role", "Schedule/no-such-role", True),
        ("chain-identifier", "Practitioner/unknown", True),
        ("chain-schedule", "Slot/no-schedule", True),
    }
    assert (found["examined"], found["left-out"]) == (7, 5)
    assert [f["left-out"] for f in found["finding"]] == sorted((f["left-out"] for f in found["finding"]), reverse=True)


def test_a_regulator_account_is_no_practitioner_of_an_agenda(agenda: Api) -> None:
    put(
        agenda,
        "Practitioner",
        "account",
        meta={"source": PLATFORM},
        identifier=[{"type": concept(V2, "IDNPS"), "system": IDNPS, "value": "810000000019"}],
        active=True,
        name=[{"family": "Kerjean", "given": ["Maude"]}],
        telecom=[{"system": "email", "value": "m@regulation.example"}],
    )
    put(agenda, "Schedule", "p", actor=[{"reference": "Practitioner/account"}, {"reference": "PractitionerRole/p"}])
    assert told(check(agenda))[0] == ("chain-practitioner", "Schedule/p", True)


def test_the_chain_of_sos_medecins_goes_over_place_and_association(agenda: Api) -> None:
    place = sos_place()
    put(agenda, "Location", "l", **place, managingOrganization={"reference": "Organization/none"})
    put(agenda, "Schedule", "sos", actor=[{"reference": "Location/l"}])
    slot(agenda, "sos", "sos")
    assert told(check(agenda)) == [("chain-organization", "Location/l", True)]
    put(agenda, "Organization", "o", identifier=[{"system": IDNST, "value": "399900000000112"}], name="SOS")
    put(agenda, "Location", "l", **place, managingOrganization={"reference": "Organization/o"})
    assert told(check(agenda)) == []
    put(agenda, "Schedule", "sos", actor=[{"reference": "Location/nowhere"}])
    assert told(check(agenda)) == [("chain-location", "Schedule/sos", True)]


def test_what_the_profiles_of_places_and_associations_want_is_told(agenda: Api) -> None:
    named = [{"system": IDNST, "value": "1350000123"}]
    put(agenda, "Organization", "o", identifier=named, name="SOS", telecom=[{"system": "phone", "value": "3624"}])
    place = sos_place(name=" ", identifier=[{"value": "1"}], managingOrganization={"reference": "Organization/o"})
    answer = agenda.put("Location/l", {"resourceType": "Location", "id": "l", **place})
    assert answer.status_code == 201, answer.text
    put(agenda, "Schedule", "sos", actor=[{"reference": "Location/l"}])
    slot(agenda, "sos", "sos")
    assert set(told(check(agenda))) == {
        ("sos-location", "Location/l", False),
        ("location-identifier", "Location/l", False),
        ("sos-identifier", "Organization/o", False),
        ("phone", "Organization/o", False),
    }


def test_a_place_of_sos_medecins_needs_an_identifier_of_the_editors_own(agenda: Api) -> None:
    put(agenda, "Organization", "o", identifier=[{"system": IDNST, "value": "333417374840002"}], name="SOS")
    structure = {"type": concept(PLACE_TYPE, "IDNST"), "system": IDNST, "value": "1350000123"}
    for identifiers, rules in (([structure], ["sos-location"]), ([structure, PLACE_ID], [])):
        place = sos_place(identifier=identifiers, managingOrganization={"reference": "Organization/o"})
        put(agenda, "Location", "l", **place)
        put(agenda, "Schedule", "sos", actor=[{"reference": "Location/l"}])
        slot(agenda, "sos", "sos")
        assert [rule for rule, *_ in told(check(agenda))] == rules


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"contained": [], "location": [{"reference": "Location/l"}]}, "role-location"),
        ({"place": {"identifier": [{"system": "https://agenda.example/lieux", "value": "1"}]}}, "location-identifier"),
        ({"place": {"identifier": [PLACE_ID, {"value": "2"}]}}, None),
    ],
    ids=["not contained", "no type", "one is complete"],
)
def test_what_the_profile_of_roles_wants_of_their_place_is_told(
    agenda: Api, change: dict[str, Any], rule: str | None
) -> None:
    body = role("p")
    if "place" in change:
        body["contained"] = [body["contained"][0] | change["place"]]
    else:
        body |= change
    put(agenda, "PractitionerRole", "p", **body)
    assert told(check(agenda)) == ([] if rule is None else [(rule, "PractitionerRole/p", False)])


def test_what_is_wrong_with_a_cpts_is_told_once(agenda: Api) -> None:
    extension = [{"url": R5, "valueReference": {"reference": "HealthcareService/h"}}]
    shared = [
        concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB"),
        {"extension": extension, **concept(R66, "604")},
    ]
    put(agenda, "HealthcareService", "h", providedBy={"reference": "Organization/c"})
    for id, schedule in (("p", "p"), ("q", "q")):
        slot(agenda, id, schedule, label="CPTS", serviceType=shared)
    (fault,) = check(agenda)["finding"]
    assert (fault["rule"], fault["resource"]["reference"], fault["slots"]) == (
        "reference-resolves",
        "HealthcareService/h",
        2,
    )
    put(agenda, "Organization", "c", name="CPTS", identifier=[{"system": IDNST, "value": "333417374840002"}])
    assert set(told(check(agenda))) == {
        ("cpts-identifier", "Organization/c", False),
        ("cpts-contact", "Organization/c", False),
    }
    contact = [{"system": "phone", "value": "+33299000000"}]
    put(agenda, "Organization", "c", name="CPTS", telecom=contact, identifier=[{"system": IDNST, "value": "950047225"}])
    assert told(check(agenda)) == []


def test_what_is_wrong_with_a_slot_is_told_though_it_is_shown(agenda: Api) -> None:
    slot(agenda, "p", "p", comment="no address", end="2026-12-07T08:00:00.000+01:00")
    found = check(agenda)
    assert {f[:2] for f in told(found)} == {("slot-comment", "Slot/p"), ("slot-order", "Slot/p")}
    assert found["left-out"] == 0
    (page,) = [f for f in found["finding"] if f["rule"] == "slot-comment"]
    assert (page["severity"], page["expression"], page["slots"]) == ("error", "Slot.comment", 1)
    assert "no address" in page["diagnostics"]


def test_the_service_of_a_cpts_that_is_nowhere_is_told(agenda: Api) -> None:
    extension = [{"url": R5, "valueReference": {"reference": "HealthcareService/none"}}]
    shared = [
        concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB"),
        {"extension": extension, **concept(R66, "604")},
    ]
    slot(agenda, "p", "p", label="CPTS", serviceType=shared)
    assert told(check(agenda)) == [("reference-resolves", "Slot/p", False)]


def test_the_fault_of_an_agenda_is_told_once_with_the_number_of_slots(agenda: Api) -> None:
    put(agenda, "PractitionerRole", "p", **role("q"))
    for n in range(4):
        slot(agenda, f"more-{n}", "p")
    (fault,) = check(agenda)["finding"]
    assert (fault["rule"], fault["resource"]["reference"], fault["slots"]) == (
        "schedule-actor",
        "PractitionerRole/p",
        5,
    )


def test_labels_that_hide_a_slot_are_told(agenda: Api) -> None:
    slot(agenda, "p", "p", label="private")
    assert ("slot-hidden", "Slot/p", True) in told(check(agenda))


def test_it_can_be_asked_for_some_practitioners_and_some_schedules(agenda: Api) -> None:
    for asked in ("practitioner=810002673899", "practitioner=10002673899", "schedule=p", "schedule=Schedule/p"):
        assert check(agenda, "&" + asked)["examined"] == 1, asked
    both = f"&practitioner={quote(IDNPS)}%7C810002673899&practitioner=810100050075"
    assert check(agenda, both)["examined"] == 2


def test_busy_slots_and_slots_outside_of_the_window_are_not_looked_at(agenda: Api) -> None:
    slot(agenda, "p", "p", status="busy")
    slot(agenda, "q", "q", start="2026-12-09T09:00:00.000+01:00", end="2026-12-09T09:20:00.000+01:00")
    assert check(agenda)["examined"] == 0


def test_one_call_looks_at_so_many_slots_and_the_next_goes_on(agenda: Api) -> None:
    for n in range(5):
        slot(agenda, f"more-{n}", "p", comment=f"nothing {n}")
    seen, after, calls = [], "", 0
    while calls < 5:
        found = check(agenda, f"&count=3{after}")
        seen += [f["resource"]["reference"] for f in found["finding"]]
        calls += 1
        if "next" not in found:
            break
        after = f"&after={found['next']}"
    assert sorted(seen) == [f"Slot/more-{n}" for n in range(5)]
    assert calls == 3


@pytest.mark.parametrize(
    "wrong",
    [
        "count=0",
        "count=5001",
        "after=made-up",
        "practitioner=https://x%7C1",
        "end=2026-12-06T00:00:00Z",
        "start=soon",
        "start=9999-12-31T23:59:60Z",
    ],
)
def test_parameters_that_make_no_sense_are_refused(agenda: Api, wrong: str) -> None:
    answer = agenda.get(
        f"$sas-check?start=2026-12-07T00:00:00Z&{wrong}" if "start" not in wrong else f"$sas-check?{wrong}"
    )
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize("path", ["$sas-check", "Slot/$sas-check"])
def test_it_is_there_with_the_plugin_whatever_statement_serves_slots(api: Api, path: str) -> None:
    assert api.get(path).status_code == 200
    rest = api.get("metadata").get_json()["rest"][0]
    (served,) = [r for r in rest["resource"] if r["type"] == "Slot"]
    for operations in (rest["operation"], served["operation"]):
        assert "urn:fhirstore:OperationDefinition:sas-check" in {o["definition"] for o in operations}


def test_it_is_not_there_where_no_slots_are_served() -> None:
    registry = Template.make(plugins=("sas",), capability="sas-platform").ctx.registry
    assert "sas-check" not in registry.operations


def test_a_practitioner_who_is_stored_twice_is_told(agenda: Api) -> None:
    """Both have a schedule, so a search of the platform shows both."""
    named = {"type": concept(V2, "IDNPS"), "system": IDNPS, "value": "810002673899"}
    twice = {"identifier": [named], "name": [{"family": "Morvan", "given": ["Anne"]}]}
    put(agenda, "Practitioner", "p2", **twice)
    assert told(check(agenda)) == []  # nobody sees one without a schedule
    put(agenda, "PractitionerRole", "p2", **role("p2"))
    actors = [{"reference": "Practitioner/p2"}, {"reference": "PractitionerRole/p2"}]
    put(agenda, "Schedule", "p2", actor=actors)
    assert told(check(agenda)) == [("practitioner-once", "Practitioner/p", False)]
    slot(agenda, "p2", "p2")
    found = check(agenda)
    assert told(found) == [(("practitioner-once"), f"Practitioner/{id}", False) for id in ("p", "p2")]
    assert "Practitioner/p | Practitioner/p2" in found["finding"][0]["diagnostics"]


def test_a_regulator_with_the_id_of_a_practitioner_is_no_second_one(agenda: Api) -> None:
    named = {"type": concept(V2, "IDNPS"), "system": IDNPS, "value": "810002673899"}
    put(
        agenda,
        "Practitioner",
        "account",
        meta={"source": PLATFORM},
        identifier=[named],
        active=True,
        name=[{"family": "Morvan", "given": ["Anne"]}],
        telecom=[{"system": "email", "value": "a@b.example"}],
    )
    put(agenda, "Schedule", "account", actor=[{"reference": "Practitioner/account"}])
    assert told(check(agenda)) == []


@pytest.mark.parametrize(
    "start",
    [
        "2016-12-31T23:59:60Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00%2B14:00",
        "2026-12-07T09:00:00.123456789Z",
    ],
)
def test_any_instant_that_is_one_can_be_asked_for(agenda: Api, start: str) -> None:
    answer = agenda.get(f"$sas-check?start={start}")
    assert answer.status_code == 200, answer.text


def test_the_next_goes_on_with_the_same_parameters_only(agenda: Api) -> None:
    after = check(agenda, "&count=1")["next"]
    assert agenda.get(f"$sas-check?count=1&schedule=p&after={after}").status_code == 400
