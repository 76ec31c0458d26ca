"""Groups 1, 3 and 4 of the official test kit (0.3.0), as far as they concern a server without TLS, in both options.

Each test bears the number of the kit's. Those of TLS (1.1.02 to 1.2.01) are in test_kit_tls.py; the declarations
(2.01 to 2.06) and the booking page (6.1 and 6.2) are no matter of the FHIR server."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from support.api import Template
from support.process import Process
from support.sas_kit import ACCEPT, CPTS, IDNPS, NOW, PS, R5, R66, Found, Option, setup

from fhirstore.plugins import ProfileRequirement

OPTIONS = pytest.mark.parametrize("option", [PS, CPTS], ids=lambda o: o.name)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")
LEGAL = re.compile(r"[!#$&-;=?-Z\[\]_a-z~%]+")
"""The characters of a URI."""


def references(schedule: dict[str, Any]) -> list[str]:
    return [actor["reference"] for actor in schedule["actor"]]


def names(found: Found, type: str) -> set[str]:
    return {f"{type}/{r['id']}" for r in found.all(type)}


def services(slot: dict[str, Any]) -> list[str]:
    """The HealthcareService of the service types of CPTS."""
    of_cpts = (s for s in slot.get("serviceType", ()) if {"system": R66, "code": "604"} in s.get("coding", ()))
    return [e["valueReference"]["reference"] for s in of_cpts for e in s["extension"] if e["url"] == R5]


def codes(found: Found, path: str) -> set[str]:
    if path == "security":
        return {c["code"] for s in found.all("Slot") for c in s["meta"]["security"]}
    return {
        c["code"]
        for s in found.all("Slot")
        for t in s["serviceType"]
        for c in t.get("coding", ())
        if c["code"] != "604"
    }


# --- 1 and 3


@pytest.mark.parametrize(
    "query",
    [
        "start=ge2024-01-01T00:00:00.000%2B00:00&start=le2024-01-03T00:00:00.000%2B00:00"
        f"&schedule.actor:Practitioner.identifier={IDNPS}%7C810101215225",
        "_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"
        "&start=ge2024-06-12T16:20:00.000&start=le2024-06-15T16:20:00.000"
        f"&schedule.actor:Practitioner.identifier={IDNPS}%7C810002909371,{IDNPS}%7C810001288385",
    ],
    ids=["PS", "CPTS"],
)
def test_1_1_01_the_fixed_query_in_the_past_is_answered(kit_server: Process, query: str) -> None:
    path = f"Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&{query}&status=free"
    status, _, bundle = kit_server.call("GET", path, headers=ACCEPT)
    assert (status, bundle["total"], "entry" in bundle) == (200, 0, False)


def test_3_01_metadata_is_a_capability_statement(kit_server: Process) -> None:
    status, _, statement = kit_server.call("GET", "metadata", headers=ACCEPT)
    assert (status, statement["resourceType"]) == (200, "CapabilityStatement")


# --- 4.1, 4.2 and all setups


@OPTIONS
@pytest.mark.parametrize("numbers", [(1,), (2,), (3, 4)])
def test_setup_finds_a_bundle_with_the_right_content_type(
    kit_server: Process, option: Option, numbers: tuple[int, ...]
) -> None:
    found = setup(kit_server, option, *numbers)
    assert (found.status, found.bundle["resourceType"]) == (200, "Bundle")
    assert found.bundle["entry"] != []
    assert found.headers["Content-Type"].partition(";")[0] == "application/fhir+json"


@OPTIONS
def test_4_1_01_the_ps_form_is_answered_in_both_options(kit_server: Process, option: Option) -> None:
    """Its time is measured by benchmarks, not by tests."""
    found = setup(kit_server, option, 1, form=PS)
    assert (found.status, found.bundle["resourceType"]) == (200, "Bundle")
    assert "CPTS" not in str(found.bundle["entry"])


@OPTIONS
@pytest.mark.parametrize("numbers", [(1,), (2,), (3, 4)])
def test_4_2_02_the_bundle_conforms(
    kit_server: Process, sas_template: Template, option: Option, numbers: tuple[int, ...]
) -> None:
    found = setup(kit_server, option, *numbers)
    demand = ProfileRequirement(option.bundle, "asked", "enforce")
    assert [i for i in sas_template.ctx.validator.validate(found.bundle, [demand]) if i.is_error] == []
    assert found.bundle["meta"]["profile"] == [option.bundle]


# --- 4.3: one place


@OPTIONS
class TestOnePlace:
    @pytest.fixture
    def found(self, kit_server: Process, option: Option) -> Found:
        return setup(kit_server, option, 1)

    def test_4_3_02_cardinality(self, found: Found) -> None:
        counts = {type: len(found.all(type)) for type in ("Practitioner", "PractitionerRole", "Schedule")}
        assert counts == {"Practitioner": 1, "PractitionerRole": 1, "Schedule": 1}
        assert len(found.one("PractitionerRole")["contained"]) == 1
        assert found.bundle["total"] == len(found.all("Slot")) > 0

    def test_4_3_03_rpps(self, found: Found) -> None:
        value = found.one("Practitioner")["identifier"][0]["value"]
        assert value == found.option.rpps[0]
        assert re.fullmatch(r"8[0-9]{11}", value)

    def test_4_3_04_dates(self, found: Found) -> None:
        for slot in found.all("Slot"):
            assert INSTANT.fullmatch(slot["start"])
            assert INSTANT.fullmatch(slot["end"])
            start, end = (datetime.fromisoformat(slot[name]) for name in ("start", "end"))
            assert NOW <= start < end
            assert slot["start"][:10] <= found.until.isoformat()[:10]

    def test_4_3_05_references(self, found: Found) -> None:
        role, practitioner = found.one("PractitionerRole"), found.one("Practitioner")
        assert role["practitioner"]["reference"] == f"Practitioner/{practitioner['id']}"
        assert {f"PractitionerRole/{role['id']}", f"Practitioner/{practitioner['id']}"} <= {
            *references(found.one("Schedule"))
        }
        assert [one["reference"] for one in role["location"]] == ["#" + role["contained"][0]["id"]]

    def test_4_3_06_location(self, found: Found) -> None:
        address = found.one("PractitionerRole")["contained"][0]["address"]
        assert address["line"]
        assert address["city"]
        assert re.fullmatch(r"[0-9]{5}", address["postalCode"])

    def test_4_3_07_the_link_is_the_request(self, found: Found) -> None:
        url = found.bundle["link"][0]["url"]
        assert LEGAL.fullmatch(url)
        assert sorted(parse_qsl(url.partition("?")[2])) == sorted(found.asked)
        assert url == found.url

    def test_4_3_08_booking_page(self, found: Found) -> None:
        assert all(slot["comment"].startswith("https://") for slot in found.all("Slot"))

    def test_4_3_09_status(self, found: Found) -> None:
        assert {slot["status"] for slot in found.all("Slot")} == {"free"}

    def test_4_3_10_appointment_type(self, found: Found) -> None:
        found_codes = {c["code"] for slot in found.all("Slot") for c in slot["appointmentType"]["coding"]}
        assert found_codes <= {"ROUTINE", "WALKIN"}


class TestOnePlaceOfACpts:
    @pytest.fixture
    def found(self, kit_server: Process) -> Found:
        return setup(kit_server, CPTS, 1)

    def test_4_3_11_cardinality(self, found: Found) -> None:
        assert len(found.all("HealthcareService")) == len(found.all("Organization")) == 1

    def test_4_3_12_references(self, found: Found) -> None:
        service, organization = found.one("HealthcareService"), found.one("Organization")
        assert service["providedBy"]["reference"] == f"Organization/{organization['id']}"
        used = {ref for slot in found.all("Slot") for ref in services(slot)}
        assert used == {f"HealthcareService/{service['id']}"}

    def test_4_3_13_identifier(self, found: Found) -> None:
        assert re.fullmatch(r"1[0-9]{9}", found.one("Organization")["identifier"][0]["value"])


# --- 4.4: two places


@OPTIONS
class TestTwoPlaces:
    @pytest.fixture
    def found(self, kit_server: Process, option: Option) -> Found:
        return setup(kit_server, option, 2)

    def test_4_4_02_to_04_cardinality(self, found: Found) -> None:
        counts = [len(found.all(type)) for type in ("Practitioner", "PractitionerRole", "Schedule")]
        assert counts == [1, 2, 2]

    def test_4_4_05_roles_name_the_practitioner(self, found: Found) -> None:
        owners = {role["practitioner"]["reference"] for role in found.all("PractitionerRole")}
        assert owners == names(found, "Practitioner")

    def test_4_4_06_schedules_name_the_roles(self, found: Found) -> None:
        named = [ref for s in found.all("Schedule") for ref in references(s) if ref.startswith("PractitionerRole/")]
        assert sorted(named) == sorted(names(found, "PractitionerRole"))

    def test_4_4_07_schedules_name_the_practitioner(self, found: Found) -> None:
        for schedule in found.all("Schedule"):
            people = [ref for ref in references(schedule) if ref.startswith("Practitioner/")]
            assert set(people) == names(found, "Practitioner")
            assert len(people) == 1

    def test_4_4_08_places(self, found: Found) -> None:
        for role in found.all("PractitionerRole"):
            assert role["location"][0]["reference"] == "#" + role["contained"][0]["id"]


# --- 4.5 to 4.7


@OPTIONS
def test_4_5_02_to_04_several_practitioners(kit_server: Process, option: Option) -> None:
    found = setup(kit_server, option, 3, 4)
    assert len(found.all("Practitioner")) == 2
    assert len(found.all("PractitionerRole")) >= 2
    assert len(found.all("Schedule")) >= 2


@OPTIONS
def test_4_6_02_to_06_practitioner_and_structure(kit_server: Process, option: Option) -> None:
    found = setup(kit_server, option, 1)
    name = found.one("Practitioner")["name"][0]
    role = found.one("PractitionerRole")
    assert name["family"]
    assert name["given"]
    assert re.fullmatch(r"\+(33|262|590|594|596)\d{9}", role["telecom"][0]["value"])
    assert re.fullmatch(r"1\d{9}|[34]\d{14}", role["organization"]["identifier"]["value"])


@OPTIONS
def test_4_7_02_labels_are_those_declared(kit_server: Process, option: Option) -> None:
    assert codes(setup(kit_server, option, 1), "security") == option.labels


@OPTIONS
def test_4_7_03_kinds_of_consultation_are_those_declared(kit_server: Process, option: Option) -> None:
    assert codes(setup(kit_server, option, 1), "serviceType") == {"AMB", "VR", "HH"}


# --- 4.8 and 4.9: CPTS


class TestTwoCpts:
    """4.8.1 (two slots, each of a CPTS) and 4.8.2 (a slot of two)."""

    @pytest.fixture
    def found(self, kit_server: Process) -> Found:
        return setup(kit_server, CPTS, 2)

    def test_02_and_03_two_services_of_two_organizations(self, found: Found) -> None:
        assert len(found.all("HealthcareService")) == len(found.all("Organization")) == 2

    def test_04_every_label_is_cpts(self, found: Found) -> None:
        assert codes(found, "security") == {"CPTS"}

    def test_05_every_slot_has_a_service_type_604(self, found: Found) -> None:
        assert all(services(slot) for slot in found.all("Slot"))

    def test_06_services_are_in_the_bundle(self, found: Found) -> None:
        used = [set(services(slot)) for slot in found.all("Slot")]
        assert set().union(*used) == names(found, "HealthcareService")
        assert {len(refs) for refs in used} == {1, 2}

    def test_07_every_provider_resolves(self, found: Found) -> None:
        providers = {service["providedBy"]["reference"] for service in found.all("HealthcareService")}
        assert providers == names(found, "Organization")


def test_4_9_02_and_03_name_and_phone_of_the_cpts(kit_server: Process) -> None:
    organization = setup(kit_server, CPTS, 1).one("Organization")
    assert organization["name"]
    assert organization["telecom"][0]["value"]


@OPTIONS
def test_reasons_are_sent_as_text(kit_server: Process, option: Option) -> None:
    slots = setup(kit_server, option, 1).all("Slot")
    assert all({"text": "Douleur"} in slot["serviceType"] for slot in slots)
