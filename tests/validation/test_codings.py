"""Codings that use supplements of code systems."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import catalog, code_system

from fhirstore.validation.validator import ResourceValidator

Json = dict[str, Any]
BASE, FRAGMENT, SUPPLEMENT = "http://codes", "http://fragment", "http://supplement"
RESOURCES = [
    code_system(BASE, "a", {"code": "b", "concept": [{"code": "c"}]}),
    code_system(FRAGMENT, "a", content="fragment"),
    code_system(SUPPLEMENT, "a", {"code": "x", "concept": [{"code": "y"}]}, content="supplement", supplements=BASE),
    code_system("http://of-fragment", "z", content="supplement", supplements=f"{FRAGMENT}|1"),
    code_system("http://both", "a"),
    code_system("http://both", "q", content="supplement", supplements=BASE, version="2"),
]


@pytest.fixture(scope="module")
def validator() -> ResourceValidator:
    return ResourceValidator(catalog(RESOURCES))


def observation(system: str, code: str) -> Json:
    coding = {"system": system, "code": code}
    return {"resourceType": "Observation", "status": "final", "code": {"coding": [coding]}, "valueString": "1"}


def found(validator: ResourceValidator, resource: Json) -> list[tuple[str, str]]:
    return [(i.code, i.expression[0]) for i in validator.validate(resource, []) if i.is_error]


@pytest.mark.parametrize(
    ("system", "code"),
    [(BASE, "a"), (BASE, "c"), (BASE, "unheard"), (FRAGMENT, "z"), ("http://both", "a"), ("http://other", "x")],
)
def test_a_coding_of_a_code_system_is_accepted(system: str, code: str, validator: ResourceValidator) -> None:
    assert found(validator, observation(system, code)) == []


@pytest.mark.parametrize("code", ["a", "x"])
def test_a_supplement_is_no_system(code: str, validator: ResourceValidator) -> None:
    assert found(validator, observation(SUPPLEMENT, code)) == [("not-found", "Observation.code.coding[0].system")]


@pytest.mark.parametrize("code", ["x", "y", "q"])
def test_a_code_that_only_a_supplement_has_is_refused(code: str, validator: ResourceValidator) -> None:
    assert found(validator, observation(BASE, code)) == [("code-invalid", "Observation.code.coding[0].code")]


def test_codings_are_found_everywhere(validator: ResourceValidator) -> None:
    coding = {"system": SUPPLEMENT, "code": "a"}
    extension = {"url": "http://example.org/e", "valueCoding": coding}
    inside = observation(BASE, "x") | {"valueQuantity": {"value": 1, "system": SUPPLEMENT, "code": "a"}}
    del inside["valueString"]
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "meta": {"tag": [coding]},
        "entry": [{"resource": inside}, {"resource": {"resourceType": "Patient", "extension": [extension]}}],
    }

    assert found(validator, bundle) == [
        ("not-found", "Bundle.meta.tag[0].system"),
        ("code-invalid", "Bundle.entry[0].resource.code.coding[0].code"),
        ("not-found", "Bundle.entry[0].resource.value.system"),
        ("not-found", "Bundle.entry[1].resource.extension[0].value.system"),
    ]
