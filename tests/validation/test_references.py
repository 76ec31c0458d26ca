"""https://hl7.org/fhir/R4/references.html: the forms of references and their targets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from fhirstore.errors import Issue

Faults = Callable[[Any], list[tuple[str, str, str]]]
Validate = Callable[[Any], list[Issue]]

UUID = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"


def observation(subject: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "c"}, "subject": subject, **more}


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/1",
        "Patient/a.B-1/_history/2",
        "http://example.org/fhir/Patient/1",
        "https://example.org/fhir/Patient/1/_history/3",
        "http://example.org/anything?id=7",
        "http://example.org/fhir/Patience/1",
        UUID,
        UUID.upper().replace("URN:UUID", "urn:uuid"),
        UUID + "-X",
        "urn:uuid:1",
        "urn:oid:x",
        "mailto:a@b.c",
        "urn:oid:1.2.250.1",
        "urn:example:7",
        "#p",
    ],
)
def test_reference_in_an_allowed_form_is_accepted(reference: str, validate: Validate) -> None:
    more = {"contained": [{"resourceType": "Patient", "id": "p"}]} if reference == "#p" else {}

    assert validate(observation({"reference": reference}, **more)) == []


@pytest.mark.parametrize(
    ("reference", "code", "word"),
    [
        ("1", "value", "not a reference"),
        ("Patient", "value", "not a reference"),
        ("Patient/", "value", "not a reference"),
        ("/Patient/1", "value", "not a reference"),
        ("Patient/a b", "value", "not a reference"),
        ("Patient/1/2", "value", "not a reference"),
        ("Patient/1#p", "value", "not a reference"),
        ("Patient/1\n", "value", "not a reference"),
        ("http://example.org/fhir/ Patient/1", "value", "not a reference"),
        ("Patient/" + "x" * 65, "value", "not a reference"),
        ("Patient?identifier=1", "value", "not a reference"),
        ("urn:uuid:1 2", "value", "not a reference"),
        ("Patien/1", "value", "did you mean 'Patient'"),
        ("Practitioner/1", "value", "allowed: Device, Group, Location, Patient"),
        ("Practitioner/1/_history/1", "value", "refers to Practitioner"),
        ("http://example.org/fhir/Practitioner/1", "value", "refers to Practitioner"),
        ("#gone", "not-found", "does not exist"),
        ("#o", "value", "refers to Organization"),
        ("#", "value", "refers to Observation"),
    ],
)
def test_reference_in_another_form_or_to_another_type_is_refused(
    reference: str, code: str, word: str, faults: Faults
) -> None:
    more = {"contained": [{"resourceType": "Organization", "id": "o", "name": "O"}]} if reference == "#o" else {}

    found = faults(observation({"reference": reference}, **more))

    assert [(c, e) for c, e, _ in found] == [(code, "Observation.subject.reference")]
    assert word in found[0][2]


def test_hash_alone_means_the_container(validate: Validate) -> None:
    provenance = {
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "#"}],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": {"display": "w"}}],
    }

    assert validate({"resourceType": "Patient", "contained": [provenance]}) == []


def test_contained_resource_refers_to_its_siblings(faults: Faults) -> None:
    role = {"resourceType": "PractitionerRole", "id": "r", "location": [{"reference": "#l"}]}
    location = {"resourceType": "Location", "id": "l"}
    schedule = {"resourceType": "Schedule", "actor": [{"reference": "#r"}]}

    assert faults({**schedule, "contained": [role, location]}) == []
    found = faults({**schedule, "contained": [role]})
    assert [e for _, e, _ in found] == ["Schedule.contained[0].location[0].reference"]


def test_contained_resource_without_a_type_is_reported_there_only(faults: Faults) -> None:
    found = faults(observation({"reference": "#x"}, contained=[{"id": "x"}]))

    assert [e for _, e, _ in found] == ["Observation.contained[0]"]


def test_contained_of_another_bundle_entry_does_not_count(faults: Faults) -> None:
    one = {
        "resourceType": "Schedule",
        "contained": [{"resourceType": "Location", "id": "l"}],
        "actor": [{"reference": "#l"}],
    }
    other = {"resourceType": "Schedule", "actor": [{"reference": "#l"}]}

    found = faults({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one}, {"resource": other}]})

    assert [(c, e) for c, e, _ in found] == [("not-found", "Bundle.entry[1].resource.actor[0].reference")]


@pytest.mark.parametrize(("type", "accepted"), [("transaction", True), ("batch", False), ("collection", False)])
def test_reference_by_search_is_for_transactions(type: str, accepted: bool, faults: Faults) -> None:
    entry = {
        "resource": observation({"reference": "Patient?identifier=a|b"}),
    }
    if type != "collection":
        entry["request"] = {"method": "POST", "url": "X"}

    found = faults({"resourceType": "Bundle", "type": type, "entry": [entry]})

    assert [e for _, e, _ in found] == ([] if accepted else ["Bundle.entry[0].resource.subject.reference"])


def test_reference_by_search_to_another_type_is_refused(faults: Faults) -> None:
    entry = {"resource": observation({"reference": "Slot?status=free"}), "request": {"method": "POST", "url": "X"}}

    found = faults({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    assert "refers to Slot" in found[0][2]


@pytest.mark.parametrize(
    "subject",
    [
        {"type": "Patient", "display": "a"},
        {"type": "http://hl7.org/fhir/StructureDefinition/Patient", "identifier": {"value": "1"}},
        {"type": "http://example.org/fhir/StructureDefinition/Animal", "display": "a"},
        {"type": "Patient", "reference": "Patient/1"},
        {"type": "Patient", "reference": UUID},
        {"type": "Resource", "display": "a"},
    ],
)
def test_type_beside_the_reference_is_accepted(subject: dict[str, Any], validate: Validate) -> None:
    assert validate(observation(subject)) == []


@pytest.mark.parametrize(
    ("subject", "word"),
    [
        ({"type": "Slot", "display": "a"}, "the type Slot is not allowed here"),
        ({"type": "Patiant", "display": "a"}, "did you mean 'Patient'"),
        ({"type": "Group", "reference": "Patient/1"}, "contradicts"),
    ],
)
def test_type_that_is_not_allowed_is_refused(subject: dict[str, Any], word: str, faults: Faults) -> None:
    found = faults(observation(subject))

    assert [e for _, e, _ in found] == ["Observation.subject.type"]
    assert word in found[0][2]


def test_reference_in_an_extension_may_point_to_any_type(faults: Faults) -> None:
    def extended(reference: str) -> Any:
        return {
            "resourceType": "Patient",
            "extension": [{"url": "http://a", "valueReference": {"reference": reference}}],
        }

    assert faults(extended("Slot/1")) == []
    assert [e for _, e, _ in faults(extended("Slat/1"))] == ["Patient.extension[0].value.reference"]


def test_references_between_contained_resources_are_checked_in_linear_time(validate: Validate) -> None:
    """Each contained resource had an index of all of them, and each link was compared with all of their ids."""

    def work(count: int) -> int:
        contained = [
            {"resourceType": "Organization", "id": f"o{n}", "name": "x", "partOf": {"reference": f"#o{n + 1}"}}
            for n in range(count)
        ]
        contained.append({"resourceType": "Organization", "id": f"o{count}", "name": "x"})
        patient = {"resourceType": "Patient", "contained": contained, "managingOrganization": {"reference": "#o0"}}
        assert validate(patient) == []
        calls = 0

        def profile(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(profile)
        try:
            validate(patient)
        finally:
            sys.setprofile(None)
        return calls

    assert work(200) < 2.5 * work(100)
