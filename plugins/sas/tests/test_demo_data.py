"""The demonstration data: fixed ids, valid, and found by the sample searches."""

from __future__ import annotations

import copy
import re
from collections import Counter
from datetime import date
from typing import Any

import pytest
from support.api import Api

from fhirstore.definitions import core
from fhirstore.interactions.bulk import put_many
from fhirstore.validation.structure import StructureValidator
from fhirstore_sas import demo_data
from fhirstore_sas.corrections import correct

DAY = date(2026, 10, 24)  # summer time ends the day after
RESOURCES = list(demo_data.resources(DAY))


def load(api: Api, day: date) -> None:
    assert [issues for _, issues in put_many(api.ctx, demo_data.resources(day)) if issues] == []


def test_data_is_valid_r4() -> None:
    validator = StructureValidator(core.load())
    assert [(r["id"], i) for r in RESOURCES for i in validator.validate(r) if i.is_error] == []


def test_nothing_is_corrected_in_data_that_are_as_the_guide_wants_them() -> None:
    changed = copy.deepcopy(RESOURCES)
    assert [issue for resource in changed for issue in correct(resource)] == []
    assert changed == RESOURCES


def test_data_has_the_wanted_size_and_every_kind() -> None:
    count = Counter(r["resourceType"] for r in RESOURCES)
    assert count["Practitioner"] == 13
    assert 1000 <= count["Slot"] <= 2000
    assert {"Organization", "HealthcareService", "PractitionerRole", "Schedule", "Location"} <= count.keys()


def test_data_covers_what_the_platform_can_meet() -> None:
    roles = Counter(r["practitioner"]["reference"] for r in RESOURCES if r["resourceType"] == "PractitionerRole")
    assert {1, 2} <= set(roles.values())
    slots = [r for r in RESOURCES if r["resourceType"] == "Slot"]
    assert {0, 1, 2} == {sum("extension" in kind for kind in slot["serviceType"]) for slot in slots}
    assert {"free", "busy"} == {slot["status"] for slot in slots}
    assert {c["code"] for s in slots for c in s["meta"]["security"]} == {"PUBLIC", "PRO", "SNP", "CPTS"}
    places = Counter(r["managingOrganization"]["reference"] for r in RESOURCES if r["resourceType"] == "Location")
    assert {1, 2} <= set(places.values())
    accounts = [r for r in RESOURCES if r["id"].startswith("demo-regulator")]
    kinds = {(a["identifier"][0]["type"]["coding"][0]["code"], a["active"]) for a in accounts}
    assert kinds == {("INTRN", True), ("IDNPS", True), ("INTRN", False)}


def test_references_come_after_what_they_name() -> None:
    known: set[str] = set()
    for resource in RESOURCES:
        named = set(re.findall(r"'reference': '([A-Z][^']+)'", str(resource)))
        assert named <= known
        known.add(f"{resource['resourceType']}/{resource['id']}")


def test_ids_are_the_same_every_day() -> None:
    later = [(r["resourceType"], r["id"]) for r in demo_data.resources(date(2027, 3, 1))]
    assert later == [(r["resourceType"], r["id"]) for r in RESOURCES]


def test_national_ids_have_the_form_of_real_ones() -> None:
    people = [r for r in RESOURCES if r["id"].startswith("demo-ps") and r["resourceType"] == "Practitioner"]
    assert all(re.fullmatch(r"8\d{11}", p["identifier"][0]["value"]) for p in people)


def test_slots_are_written_in_paris_time_with_milliseconds() -> None:
    slots = [r for r in RESOURCES if r["resourceType"] == "Slot"]
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0[12]:00")
    assert all(form.fullmatch(s["start"]) and form.fullmatch(s["end"]) for s in slots)
    assert {s["start"][-6:] for s in slots} == {"+01:00", "+02:00"}
    assert min(s["start"] for s in slots).startswith("2026-10-24T09:00")


def test_loading_again_updates_instead_of_duplicating(api: Api) -> None:
    load(api, DAY)
    load(api, date(2026, 10, 25))
    assert api.get("Slot?_summary=count").get_json()["total"] == sum(r["resourceType"] == "Slot" for r in RESOURCES)


def test_sample_searches_find_slots(api: Api) -> None:
    load(api, DAY)
    for title, url in demo_data.queries("http://localhost/fhir/", DAY):
        bundle: dict[str, Any] = api.get(url).get_json()
        slots = [e for e in bundle["entry"] if e["resource"]["resourceType"] == "Slot"]
        assert bundle["total"] == len(slots) > 0, title
        assert bundle["link"] == [{"relation": "self", "url": url}], title


@pytest.mark.parametrize("hook", ["demo", "demo_queries"])
def test_plugin_offers_its_data(api: Api, hook: str) -> None:
    relay = getattr(api.ctx.plugins.hook, hook)
    (found,) = relay() if hook == "demo" else relay(base="http://localhost/fhir")
    assert len(list(found)) > 0
