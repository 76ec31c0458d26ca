"""A slot is left out of an answer only where its chain is broken; every other defect is sent as it is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support.api import Api

from fhirstore.plugins import SearchEntry
from fhirstore_sas import search_view

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
AGENDA = "_include=Slot:schedule&_include:iterate=Schedule:actor"
CPTS = "&_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"
WINDOW = "&start=ge2026-12-07T00:00:00&start=le2026-12-08T00:00:00&status=free"


@pytest.fixture(autouse=True)
def nothing_told_yet() -> None:
    search_view._warnings.reset()


def put(api: Api, type: str, id: str, **body: Any) -> None:
    answer = api.put(f"{type}/{id}", {"resourceType": type, "id": id, **body})
    assert answer.status_code in (200, 201), answer.text


def slot(api: Api, id: str, schedule: str, **more: Any) -> None:
    times = {"start": "2026-12-07T09:00:00.000+01:00", "end": "2026-12-07T09:20:00.000+01:00"}
    put(api, "Slot", id, schedule={"reference": f"Schedule/{schedule}"}, status="free", **times | more)


@pytest.fixture
def agenda(api: Api) -> Api:
    """Practitioner p with the roles r1 and r2, a schedule and a slot for each; practitioner q with one of each."""
    for person, rpps, roles in (("p", "810002673899", ("r1", "r2")), ("q", "810100050075", ("r3",))):
        put(api, "Practitioner", person, identifier=[{"system": IDNPS, "value": rpps}])
        for role in roles:
            put(api, "PractitionerRole", role, practitioner={"reference": f"Practitioner/{person}"})
            actors = [{"reference": f"Practitioner/{person}"}, {"reference": f"PractitionerRole/{role}"}]
            put(api, "Schedule", role, actor=actors)
            slot(api, f"slot-{role}", role)
    return api


def search(api: Api, more: str = "", includes: str = AGENDA) -> tuple[int, list[str]]:
    """The total and what is in the answer."""
    asked = f"{IDNPS}%7C810002673899,{IDNPS}%7C810100050075"
    path = f"Slot?{includes}{more}&schedule.actor:Practitioner.identifier={asked}{WINDOW}"
    bundle = api.get(path).get_json()
    found = [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in bundle.get("entry", ())]
    return bundle["total"], sorted(found)


PEOPLE = {"p": ["Practitioner/p"], "q": ["Practitioner/q"]}


def part(role: str) -> list[str]:
    return [f"PractitionerRole/{role}", f"Schedule/{role}", f"Slot/slot-{role}"]


def whole(*roles: str, people: str = "pq") -> list[str]:
    return sorted(name for names in [*(PEOPLE[p] for p in people), *map(part, roles)] for name in names)


@pytest.mark.parametrize("more", ["", CPTS], ids=["PS", "CPTS"])
def test_with_whole_chains_all_is_sent(agenda: Api, more: str) -> None:
    assert search(agenda, more) == (3, whole("r1", "r2", "r3"))


@pytest.mark.parametrize("more", ["", CPTS], ids=["PS", "CPTS"])
def test_the_slots_of_a_schedule_without_role_are_left_out(agenda: Api, more: str) -> None:
    put(agenda, "Schedule", "r1", actor=[{"reference": "Practitioner/p"}])
    assert search(agenda, more) == (2, whole("r2", "r3"))


def test_the_slots_of_a_schedule_whose_role_is_nowhere_are_left_out(agenda: Api) -> None:
    actors = [{"reference": "Practitioner/q"}, {"reference": "PractitionerRole/nobody"}]
    put(agenda, "Schedule", "r3", actor=actors)
    assert search(agenda) == (2, whole("r1", "r2", people="p"))


def test_the_slots_of_a_role_that_was_deleted_are_left_out(agenda: Api) -> None:
    assert agenda.delete("PractitionerRole/r2").status_code in (200, 204)
    assert search(agenda) == (2, whole("r1", "r3"))


def test_the_slots_of_a_practitioner_who_was_deleted_are_left_out(agenda: Api) -> None:
    assert agenda.delete("Practitioner/q").status_code in (200, 204)
    assert search(agenda) == (2, whole("r1", "r2", people="p"))


def test_the_slots_of_a_schedule_that_was_deleted_are_left_out(agenda: Api) -> None:
    assert agenda.delete("Schedule/r1").status_code in (200, 204)
    assert search(agenda) == (2, whole("r2", "r3"))


def test_nothing_is_left_where_every_chain_is_broken(agenda: Api) -> None:
    for role in ("r1", "r2", "r3"):
        put(agenda, "Schedule", role, actor=[{"reference": f"Practitioner/{'q' if role == 'r3' else 'p'}"}])
    assert search(agenda) == (0, [])


@pytest.mark.parametrize(
    "defect",
    [
        {"comment": "no address"},
        {"end": "2026-12-07T08:00:00.000+01:00"},
        {"appointmentType": {"text": "on the phone"}},
        {"specialty": [{"text": "ORL"}]},
        {"serviceType": [{"text": "Visite"}]},
    ],
    ids=lambda defect: next(iter(defect)),
)
def test_any_other_defect_is_sent_as_it_is(agenda: Api, defect: dict[str, Any]) -> None:
    slot(agenda, "slot-r1", "r1", **defect)
    assert search(agenda) == (3, whole("r1", "r2", "r3"))


def test_a_role_of_somebody_else_is_no_broken_chain(agenda: Api) -> None:
    put(agenda, "PractitionerRole", "r1", practitioner={"reference": "Practitioner/q"})
    assert search(agenda) == (3, whole("r1", "r2", "r3"))


def test_absolute_references_and_those_with_a_version_are_understood(agenda: Api) -> None:
    actors = [{"reference": "Practitioner/p/_history/1"}, {"reference": "PractitionerRole/r1/_history/1"}]
    put(agenda, "Schedule", "r1", actor=actors)
    assert search(agenda)[0] == 3
    row = SearchEntry("Schedule", "s", 1, 0, "include", b"", b'"actor":[{"reference":"https://x/fhir/Practitioner/p"}]')
    person = SearchEntry("Practitioner", "p", 1, 0, "include", b"", b"")
    slot_row = SearchEntry(
        "Slot", "a", 1, 0, "match", b"", b'"schedule":{"identifier":{"value":"1"},"reference":"Schedule/s"}'
    )
    assert search_view.unreachable_slots([slot_row], [row, person]) == {"Slot/a"}
    row.body = row.body[:-1] + b',{"reference":"https://x/fhir/PractitionerRole/r"}]'
    role = SearchEntry("PractitionerRole", "r", 1, 0, "include", b"", b"")
    assert search_view.unreachable_slots([slot_row], [row, person, role]) == frozenset()


def test_what_is_no_fhir_is_no_broken_chain() -> None:
    odd = SearchEntry("Schedule", "s", 1, 0, "include", b"", b'"actor":"somebody"')
    slot_row = SearchEntry("Slot", "a", 1, 0, "match", b"", b'"schedule":{"reference":"Schedule/s"}')
    assert search_view.unreachable_slots([slot_row], [odd]) == frozenset()


def test_who_does_not_ask_for_actors_gets_all_slots(agenda: Api) -> None:
    put(agenda, "Schedule", "r1", actor=[{"reference": "Practitioner/p"}])
    assert search(agenda, includes="_include=Slot:schedule")[0] == 3


def test_a_broken_chain_is_told_once_in_a_while(agenda: Api, caplog: pytest.LogCaptureFixture) -> None:
    put(agenda, "Schedule", "r1", actor=[{"reference": "Practitioner/p"}])
    with caplog.at_level(logging.WARNING, "fhirstore_sas.search_view"):
        for _ in range(3):
            search(agenda)
    (line,) = caplog.records
    assert {k: getattr(line, k) for k in ("schedule", "missing", "slots")} == {
        "schedule": "Schedule/r1",
        "missing": "PractitionerRole",
        "slots": 1,
    }
