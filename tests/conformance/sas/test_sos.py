"""The search for SOS Médecins, which the official kit does not test, by SPEC §4."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from support.api import Template
from support.process import Process
from support.sas_kit import ACCEPT, ACT, IDNST, NOW, PLACE_TYPE, R314, SAS, Json, identifier

from fhirstore.plugins import ProfileRequirement

RENNES, LORIENT, NOBODY = "334173748400020", "392080466300010", "399999999999999"
END = NOW + timedelta(days=2)


def slot(id: str, schedule: str, hours: int, status: str = "free", labels: tuple[str, ...] = ("PUBLIC", "SNP")) -> Json:
    start = NOW + timedelta(hours=hours)
    return {
        "resourceType": "Slot",
        "id": id,
        "meta": {"security": [{"system": R314, "code": label} for label in labels]},
        "serviceType": [{"coding": [{"system": ACT, "code": "AMB"}]}],
        "appointmentType": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "ROUTINE"}]},
        "schedule": {"reference": f"Schedule/{schedule}"},
        "status": status,
        "start": start.isoformat(timespec="milliseconds"),
        "end": (start + timedelta(minutes=15)).isoformat(timespec="milliseconds"),
        "comment": f"https://editor.example/sos?creneau={id}",
    }


def agenda() -> list[Json]:
    """Two places of Rennes, one of Lorient; and one of Rennes of which no single slot is free inside of the window."""
    found: list[Json] = []
    for n, siret in enumerate((RENNES, LORIENT)):
        one = identifier(IDNST, siret, PLACE_TYPE, "IDNST")
        found.append({"resourceType": "Organization", "id": f"sos-{n}", "identifier": [one], "name": f"SOS {n}"})
    for key, owner in (("ra", 0), ("rb", 0), ("la", 1), ("split", 0)):
        place = {
            "resourceType": "Location",
            "id": key,
            "identifier": [identifier("https://editor.example/places", key, PLACE_TYPE, "INTRN")],
            "name": f"Centre {key}",
            "address": {"line": ["1 rue du Lac"], "city": "Rennes", "postalCode": "35000"},
            "managingOrganization": {"reference": f"Organization/sos-{owner}"},
        }
        found += [place, {"resourceType": "Schedule", "id": key, "actor": [{"reference": f"Location/{key}"}]}]
    found += [slot("ra1", "ra", 2), slot("ra2", "ra", 3), slot("rb1", "rb", 4), slot("la1", "la", 5)]
    found += [slot("ra-busy", "ra", 6, "busy"), slot("ra-late", "ra", 96), slot("ra-pro", "ra", 7, labels=("PRO",))]
    return [*found, slot("before", "split", -2), slot("after", "split", 96), slot("taken", "split", 3, "busy")]


@pytest.fixture(scope="module")
def server(kit_server: Process) -> Process:
    for resource in agenda():
        status, _, answer = kit_server.call("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
        assert status == 201, answer
    return kit_server


def search(server: Process, *sirets: str, **more: str) -> tuple[str, Json]:
    """The URL and the answer."""
    has = "_has:Slot:schedule:"
    asked = [
        ("_revinclude", "Slot:schedule"),
        ("_include", "Schedule:actor:Location"),
        ("_include:iterate", "Location:organization"),
        (has + "start", "ge" + NOW.isoformat()),
        (has + "start", "le" + END.isoformat()),
        (has + "status", "free"),
        ("actor:Location.organization.identifier", ",".join(f"{IDNST}|{siret}" for siret in sirets)),
        *more.items(),
    ]
    path = "Schedule?" + urlencode(asked)
    status, _, bundle = server.call("GET", path, headers=ACCEPT)
    assert status == 200, bundle
    return f"http://127.0.0.1:{server.port}/fhir/{path}", bundle


def found(bundle: Json, mode: str | None = None) -> set[str]:
    entries = (e for e in bundle.get("entry", ()) if mode in (None, e["search"]["mode"]))
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in entries}


def test_slots_schedules_places_and_associations_are_there(server: Process) -> None:
    _, bundle = search(server, RENNES, LORIENT)
    assert found(bundle, "match") == {"Schedule/ra", "Schedule/rb", "Schedule/la"}
    slots = {"Slot/ra1", "Slot/ra2", "Slot/rb1", "Slot/la1"}
    places = {"Location/ra", "Location/rb", "Location/la"}
    assert found(bundle, "include") == slots | places | {"Organization/sos-0", "Organization/sos-1"}
    assert len(bundle["entry"]) == len(found(bundle))


def test_total_counts_slots(server: Process) -> None:
    assert search(server, RENNES, LORIENT)[1]["total"] == 4


def test_the_criteria_bear_on_one_slot_together(server: Process) -> None:
    """The schedule `split` has a free slot before, one after, and a busy one inside of the window."""
    assert "Schedule/split" not in found(search(server, RENNES)[1])


def test_the_answer_conforms_to_the_profile_of_its_bundle(server: Process, sas_template: Template) -> None:
    _, bundle = search(server, RENNES, LORIENT)
    demand = ProfileRequirement(SAS + "sas-sos-bundle-aggregator", "asked", "enforce")
    assert [i for i in sas_template.ctx.validator.validate(bundle, [demand]) if i.is_error] == []
    assert bundle["meta"]["profile"] == [SAS + "sas-sos-bundle-aggregator"]


def test_each_resource_declares_the_profile_of_sos_alone(server: Process) -> None:
    wanted = {
        type: [f"{SAS}sas-sos-{type.lower()}-aggregator"] for type in ("Slot", "Schedule", "Location", "Organization")
    }
    for entry in search(server, RENNES)[1]["entry"]:
        assert entry["resource"]["meta"]["profile"] == wanted[entry["resource"]["resourceType"]]


def test_the_only_link_is_the_request(server: Process) -> None:
    url, bundle = search(server, RENNES, _count="1")
    assert bundle["link"] == [{"relation": "self", "url": url}]
    assert bundle["total"] == 3


def test_unknown_associations_give_an_empty_answer(server: Process) -> None:
    _, bundle = search(server, NOBODY)
    assert (bundle["total"], "entry" in bundle, len(bundle["link"])) == (0, False, 1)


@pytest.mark.parametrize("count", [10, 25, 60])
def test_long_lists_are_answered(server: Process, count: int) -> None:
    strangers = [f"3{n:014d}" for n in range(count - 1)]
    assert search(server, *strangers, LORIENT)[1]["total"] == 1


def test_ids_are_found_without_prefix(server: Process) -> None:
    bundle: Any = search(server, RENNES[1:])[1]
    assert bundle["total"] == 3
