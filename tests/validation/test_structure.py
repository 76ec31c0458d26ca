"""The classic faults, each with the FHIRPath of its place and a telling word of the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.errors import Issue

Faults = Callable[[Any], list[tuple[str, str, str]]]
Validate = Callable[[Any], list[Issue]]


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **more}


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, **more}


def slot(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Slot",
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        "start": "2024-06-12T16:20:00.000+02:00",
        "end": "2024-06-12T16:40:00.000+02:00",
        **more,
    }


def bundle(*resources: Any, type: str = "collection") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type, "entry": [{"resource": r} for r in resources]}


def without(resource: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in resource.items() if k != key}


URL = "http://example.org/e"

FAULTS: dict[str, tuple[Any, str, str, str]] = {
    # name: resource, code, expression, word of the message
    "no resourceType": ({"id": "1"}, "structure", "Resource", "resourceType is missing"),
    "unknown resourceType": ({"resourceType": "Patiant"}, "invalid", "Resource", "did you mean 'Patient'"),
    "abstract resourceType": ({"resourceType": "DomainResource"}, "invalid", "Resource", "not a resource type"),
    "data type as resourceType": ({"resourceType": "HumanName"}, "invalid", "Resource", "not a resource type"),
    "number as resourceType": ({"resourceType": 1}, "invalid", "Resource", "the number 1"),
    "null as resourceType": ({"resourceType": None}, "invalid", "Resource", "null"),
    "array for a resource": ([], "structure", "Resource", "expected an object (a resource), found"),
    "string for a resource": ("Patient", "structure", "Resource", "expected an object (a resource), found"),
    "unknown element": (patient(foo=1), "structure", "Patient.foo", "not a property of Patient"),
    "unknown element, near name": (patient(birthdate="2000"), "structure", "Patient.birthdate", "'birthDate'"),
    "unknown nested element": (
        patient(contact=[{"gender": "male", "name": {"family": "B"}}, {"names": {"family": "A"}}]),
        "structure",
        "Patient.contact[1].names",
        "did you mean 'name'",
    ),
    "unknown element of a recursive backbone": (
        {
            "resourceType": "Questionnaire",
            "status": "draft",
            "item": [{"linkId": "1", "type": "group", "item": [{"linkId": "2", "type": "string", "txt": "a"}]}],
        },
        "structure",
        "Questionnaire.item[0].item[0].txt",
        "did you mean 'text'",
    ),
    "strange name": (patient(**{"odd key": 1}), "structure", "Patient.`odd key`", "not a property"),
    "fhir_comments": (patient(fhir_comments=["x"]), "structure", "Patient.fhir_comments", "not a property"),
    "resourceType inside a data type": (
        patient(name=[{"resourceType": "HumanName", "family": "A"}]),
        "structure",
        "Patient.name[0].resourceType",
        "not a property",
    ),
    "missing element": (without(observation(), "status"), "required", "Observation.status", "missing"),
    "missing nested element": (
        patient(link=[{"other": {"display": "A"}}]),
        "required",
        "Patient.link[0].type",
        "at least 1",
    ),
    "missing array": (
        {"resourceType": "Schedule"},
        "required",
        "Schedule.actor",
        "Reference",
    ),
    "missing choice": (
        {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"display": "A"}},
        "required",
        "MedicationRequest.medication",
        "CodeableConcept",
    ),
    "array for a single primitive": (patient(birthDate=["2000"]), "structure", "Patient.birthDate", "found an array"),
    "array for a single object": (patient(maritalStatus=[{}]), "structure", "Patient.maritalStatus", "found an array"),
    "single object for an array": (patient(name={"family": "A"}), "structure", "Patient.name", "an array"),
    "single string for an array": (
        patient(name=[{"given": "A"}]),
        "structure",
        "Patient.name[0].given",
        "expected an array (the element repeats), found",
    ),
    "array in an array": (patient(name=[[{"family": "A"}]]), "structure", "Patient.name[0]", "found an array"),
    "string for an object": (
        patient(maritalStatus="M"),
        "structure",
        "Patient.maritalStatus",
        "expected an object, found",
    ),
    "object for a string": (
        patient(name=[{"family": {"value": "A"}}]),
        "structure",
        "Patient.name[0].family",
        "expected a string, found",
    ),
    "string for a boolean": (patient(active="true"), "structure", "Patient.active", "true or false without quotes"),
    "number for a string": (patient(name=[{"family": 7}]), "structure", "Patient.name[0].family", "a string"),
    "string for a decimal": (
        observation(valueQuantity={"value": "1.5"}),
        "structure",
        "Observation.value.value",
        "without quotes",
    ),
    "null": (patient(gender=None), "structure", "Patient.gender", "expected a string, found null"),
    "null for an array": (
        patient(name=None),
        "structure",
        "Patient.name",
        "expected an array (the element repeats), found null",
    ),
    "null in an array of objects": (
        patient(name=[None]),
        "structure",
        "Patient.name[0]",
        "expected an object, found null",
    ),
    "empty array": (patient(name=[]), "structure", "Patient.name", "the array is empty"),
    "empty object": (patient(name=[{"family": "A"}, {}]), "structure", "Patient.name[1]", "the object is empty"),
    "empty string": (patient(language=""), "value", "Patient.language", "the string is empty"),
    "id without children": (patient(name=[{"id": "a"}]), "invariant", "Patient.name[0]", "ele-1"),
    "bad id": (patient(id="a b"), "value", "Patient.id", "A-Z a-z 0-9 - ."),
    "long id": (patient(id="a" * 65), "value", "Patient.id", "1 to 64"),
    "impossible date": (patient(birthDate="2023-02-30"), "value", "Patient.birthDate", "2023-02-30 is not a day"),
    "instant without zone": (slot(start="2024-06-12T16:20:00"), "value", "Slot.start", "time zone is missing"),
    "date for an instant": (slot(end="2024-06-12"), "value", "Slot.end", "not an instant"),
    "bad required code": (slot(status="libre"), "code-invalid", "Slot.status", "busy-unavailable"),
    "bad required code, near": (patient(gender="Female"), "code-invalid", "Patient.gender", "did you mean 'female'"),
    "bad required code deep inside": (
        patient(contact=[{"telecom": [{"system": "phone"}, {"system": "tel"}]}]),
        "code-invalid",
        "Patient.contact[0].telecom[1].system",
        "http://hl7.org/fhir/ValueSet/contact-point-system",
    ),
    "bad required code in a Bundle": (
        bundle(patient(), slot(status="open")),
        "code-invalid",
        "Bundle.entry[1].resource.status",
        "the string 'open'",
    ),
    "bad required code in Parameters": (
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "r", "part": [{"name": "p", "resource": slot(status="x")}]}],
        },
        "code-invalid",
        "Parameters.parameter[0].part[0].resource.status",
        "the string 'x'",
    ),
    "bad required code in a contained resource": (
        patient(contained=[{**slot(status="x"), "id": "s"}]),
        "code-invalid",
        "Patient.contained[0].status",
        "the string 'x'",
    ),
    "bad resource in a Bundle": (bundle({"id": "1"}), "structure", "Bundle.entry[0].resource", "resourceType"),
    "two values": (
        observation(valueString="a", valueInteger=1),
        "structure",
        "Observation.value",
        "not valueString and valueInteger",
    ),
    "two values, one by its extension": (
        observation(valueString="a", _valueInteger={"extension": [{"url": URL, "valueCode": "c"}]}),
        "structure",
        "Observation.value",
        "only one type",
    ),
    "type that the choice does not allow": (
        observation(valueAddress={"city": "A"}),
        "structure",
        "Observation.valueAddress",
        "valueQuantity",
    ),
    "choice without a type": (observation(value="a"), "structure", "Observation.value", "valueString"),
    "fault in a choice": (
        observation(valueQuantity={"value": 1, "units": "kg"}),
        "structure",
        "Observation.value.units",
        "'unit'",
    ),
    "extension without url": (
        patient(extension=[{"valueCode": "a"}]),
        "required",
        "Patient.extension[0].url",
        "missing",
    ),
    "extension without value": (patient(extension=[{"url": URL}]), "invariant", "Patient.extension[0]", "neither"),
    "extension with value and extensions": (
        patient(extension=[{"url": URL, "valueCode": "a", "extension": [{"url": "b", "valueCode": "c"}]}]),
        "invariant",
        "Patient.extension[0]",
        "both",
    ),
    "fault in a nested extension": (
        patient(extension=[{"url": URL, "extension": [{"url": "b", "valueDate": "2023-13"}]}]),
        "value",
        "Patient.extension[0].extension[0].value",
        "a date",
    ),
    "contained in contained": (
        patient(
            contained=[{"resourceType": "Basic", "id": "b", "code": {"text": "c"}, "contained": [patient(id="p")]}]
        ),
        "structure",
        "Patient.contained[0].contained",
        "outermost",
    ),
    "contained without id": (patient(contained=[patient()]), "required", "Patient.contained[0].id", "#id"),
    "contained ids alike": (
        patient(contained=[patient(id="p"), patient(id="q"), patient(id="p")]),
        "duplicate",
        "Patient.contained[2].id",
        "another contained",
    ),
    "contained in what cannot contain": (
        {**bundle(), "entry": [{"resource": patient()}], "contained": [patient(id="p")]},
        "structure",
        "Bundle.contained",
        "not a property",
    ),
    "fault in meta": (patient(meta={"profile": "http://a"}), "structure", "Patient.meta.profile", "an array"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_reported_once_and_where_it_is(fault: str, faults: Faults) -> None:
    resource, code, expression, word = FAULTS[fault]

    found = faults(resource)

    assert [(c, e) for c, e, _ in found] == [(code, expression)]
    assert word in found[0][2]
    assert found[0][2].startswith(f"{expression}: ")


def test_sound_resources_of_the_table_have_no_issues(validate: Validate) -> None:
    assert validate(patient()) == []
    assert validate(observation()) == []
    assert validate(slot()) == []
    assert validate(bundle(patient(), slot())) == []
    links = [{"other": {"reference": f"#{id}"}, "type": "seealso"} for id in "pq"]
    assert validate(patient(contained=[patient(id="p"), patient(id="q")], link=links)) == []


def test_several_faults_are_all_reported(faults: Faults) -> None:
    found = faults(slot(status="x", start="y", foo=1, schedule={"reference": "Patient/1"}))

    assert {e for _, e, _ in found} == {"Slot.status", "Slot.start", "Slot.foo", "Slot.schedule.reference"}


def test_nested_bundle_is_checked_like_any_resource(faults: Faults) -> None:
    found = faults(bundle(bundle(bundle(patient(gender="x")))))

    assert [e for _, e, _ in found] == ["Bundle.entry[0].resource.entry[0].resource.entry[0].resource.gender"]


def test_second_check_of_a_type_finds_the_same_as_the_first(faults: Faults) -> None:
    broken = patient(name=[{"given": [1, None], "_given": [None, {"id": "a"}]}], deceasedBoolean="no", active=1)

    assert faults(broken) == faults(broken)


def test_core_r4_has_only_the_cardinalities_and_bindings_that_the_checks_know(core: Any) -> None:
    seen: set[str] = set()
    to_see = set(core.resource_types)
    while to_see:
        path = to_see.pop()
        seen.add(path)
        for element in core.node(path).elements.values():
            assert element.min in (0, 1)
            assert element.max in (1, None) or element.path == "xhtml.extension"
            if element.binding and element.binding.strength == "required":
                assert {t.code for t in element.types} <= {"code", "CodeableConcept"}
            to_see |= {element.node} if element.node else {t.code for t in element.types}
        to_see -= seen
    assert {"Patient.contact", "Extension", "Timing.repeat"} <= seen
