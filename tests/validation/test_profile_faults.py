"""The classic faults that only a profile makes faults: each alone, found at its exact place, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from profiling import CORE, URL, P, checker, code_system, element, extension, places, profile, sliced, value_set

Json = dict[str, Any]
NOTE, FLAG = URL + "note", URL + "flag"
STRING = element("Extension.value[x]", min=1, type=[{"code": "string"}])

DEFINITIONS = [
    profile(
        P,
        "Patient",
        sliced("Patient.extension", "value url", rules="closed"),
        element("Patient.extension:note", max="1", type=[{"code": "Extension", "profile": [NOTE]}]),
        sliced("Patient.identifier", "value system", rules="openAtEnd", ordered=True),
        element("Patient.identifier:national", min=1, max="1"),
        element("Patient.identifier:national.system", fixedUri="http://national"),
        element("Patient.identifier:national.use", min=1, fixedCode="official"),
        element("Patient.identifier:local", max="2"),
        element("Patient.identifier:local.system", fixedUri="http://local"),
        element("Patient.identifier:local.use", fixedCode="secondary"),
        element(
            "Patient.identifier:local.value",
            constraint=[{"key": "loc-1", "severity": "error", "human": "Digits.", "expression": "matches('^[0-9]+$')"}],
        ),
        element("Patient.name", min=1, max="1"),
        element("Patient.birthDate", min=1),
        element("Patient.photo", max="0"),
        element("Patient.maritalStatus", binding={"strength": "required", "valueSet": URL + "warm"}),
        element(
            "Patient.managingOrganization",
            type=[{"code": "Reference", "targetProfile": [URL + "organization"], "aggregation": ["contained"]}],
        ),
        element("Patient.generalPractitioner", type=[{"code": "Reference", "targetProfile": [CORE + "Practitioner"]}]),
        element("Patient.contact.telecom.value", maxLength=5),
    ),
    profile(URL + "organization", "Organization", element("Organization.name", min=1)),
    extension(NOTE, STRING, context=("Patient",)),
    extension(FLAG, STRING, context=("HumanName",)),
    code_system(
        "http://colours", {"code": "warm", "concept": [{"code": "red", "concept": [{"code": "crimson"}]}]}, "blue"
    ),
    value_set(
        URL + "warm",
        {"system": "http://colours", "filter": [{"property": "concept", "op": "is-a", "value": "warm"}]},
    ),
]
GOOD: Json = {
    "resourceType": "Patient",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "extension": [{"url": NOTE, "valueString": "n"}],
    "identifier": [
        {"system": "http://national", "use": "official", "value": "1"},
        {"system": "http://local", "use": "secondary", "value": "2"},
        {"system": "http://else", "value": "x"},
    ],
    "name": [{"family": "A", "extension": [{"url": FLAG, "valueString": "f"}]}],
    "birthDate": "2000-01-01",
    "maritalStatus": {"coding": [{"system": "http://colours", "code": "crimson"}]},
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1"}],
    "contact": [{"telecom": [{"value": "12345"}]}],
}


def put(*path: Any, value: Any) -> Callable[[Json], None]:
    def change(resource: Json) -> None:
        target: Any = resource
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


def drop(*path: Any) -> Callable[[Json], None]:
    def change(resource: Json) -> None:
        target: Any = resource
        for step in path[:-1]:
            target = target[step]
        del target[path[-1]]

    return change


def swap(name: str, one: int, other: int) -> Callable[[Json], None]:
    def change(resource: Json) -> None:
        values = resource[name]
        values[one], values[other] = values[other], values[one]

    return change


LOCAL = {"system": "http://local", "use": "secondary", "value": "3"}
FAULTS: dict[str, tuple[Callable[[Json], None], str, str]] = {
    "missing required": (drop("birthDate"), "required", "Patient.birthDate"),
    "wrong cardinality": (put("name", value=[{"family": "A"}] * 2), "structure", "Patient.name"),
    "forbidden element": (put("photo", value=[{"url": "http://x"}]), "structure", "Patient.photo"),
    "wrong reference target": (
        put("generalPractitioner", 0, "reference", value="Organization/1"),
        "value",
        "Patient.generalPractitioner[0]",
    ),
    "target that does not conform": (
        put("contained", 0, value={"resourceType": "Organization", "id": "o", "active": True}),
        "value",
        "Patient.managingOrganization",
    ),
    "wrong aggregation": (
        put("managingOrganization", "reference", value="Organization/1"),
        "value",
        "Patient.managingOrganization",
    ),
    "failing invariant": (put("identifier", 1, "value", value="a"), "invariant", "Patient.identifier[1].value"),
    "unknown extension in a closed slicing": (
        put("extension", value=[GOOD["extension"][0], {"url": "http://else", "valueString": "x"}]),
        "structure",
        "Patient.extension[1]",
    ),
    "wrong slice order": (swap("identifier", 0, 1), "structure", "Patient.identifier[1]"),
    "stray value before a slice": (swap("identifier", 1, 2), "structure", "Patient.identifier[2]"),
    "code outside an expanded hierarchy": (
        put("maritalStatus", "coding", 0, "code", value="blue"),
        "code-invalid",
        "Patient.maritalStatus",
    ),
    "wrong extension context": (
        put("contact", 0, "extension", value=[{"url": FLAG, "valueString": "f"}]),
        "structure",
        "Patient.contact[0].extension[0]",
    ),
    "wrong value of an extension": (
        put("name", 0, "extension", 0, value={"url": FLAG, "valueBoolean": True}),
        "structure",
        "Patient.name[0].extension[0].value",
    ),
    "fixed value in the wrong slice": (
        put("identifier", 1, "use", value="official"),
        "value",
        "Patient.identifier[1].use",
    ),
    "minimum slice missing": (drop("identifier", 0), "required", "Patient.identifier"),
    "maximum slice exceeded": (
        put("identifier", value=[GOOD["identifier"][0], LOCAL, LOCAL, LOCAL]),
        "structure",
        "Patient.identifier[3]",
    ),
    "too long": (
        put("contact", 0, "telecom", 0, "value", value="123456"),
        "too-long",
        "Patient.contact[0].telecom[0].value",
    ),
}


@pytest.fixture(scope="module")
def check() -> Callable[..., Any]:
    return checker(*DEFINITIONS)


def test_the_resource_itself_conforms(check: Callable[..., Any]) -> None:
    assert check(GOOD) == check(GOOD, severity="warning") == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_at_its_place_and_no_other_is(name: str, check: Callable[..., Any]) -> None:
    change, code, place = FAULTS[name]
    resource = copy.deepcopy(GOOD)
    change(resource)
    assert places(check(resource)) == [(code, place)]


def test_the_same_faults_are_found_inside_of_a_bundle() -> None:
    around = profile(URL + "b", "Bundle", element("Bundle.entry.resource", type=[{"code": "Patient", "profile": [P]}]))
    check = checker(around, *DEFINITIONS)
    for name, (change, code, place) in FAULTS.items():
        resource = copy.deepcopy(GOOD)
        change(resource)
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": GOOD}, {"resource": resource}]}
        wanted = [(code, place.replace("Patient", "Bundle.entry[1].resource", 1))]
        assert places(check(bundle, URL + "b")) == wanted, name
