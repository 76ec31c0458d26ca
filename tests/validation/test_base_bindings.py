"""https://hl7.org/fhir/R4/terminologies.html#required: CodeableConcepts that must hold a code of a value set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.errors import Issue

Validate = Callable[[Any], list[Issue]]

CORE = "http://hl7.org/fhir/StructureDefinition/"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def condition(status: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "subject": {"display": "a"}, "clinicalStatus": status}


@pytest.mark.parametrize(
    "status",
    [
        {"coding": [{"system": CLINICAL, "code": "active"}]},
        {
            "coding": [{"system": "http://example.org", "code": "on"}, {"system": CLINICAL, "code": "active"}],
            "text": "a",
        },
    ],
)
def test_concept_with_a_coding_of_the_value_set_is_accepted(status: Any, validate: Validate) -> None:
    assert validate(condition(status)) == []


@pytest.mark.parametrize(
    "status",
    [
        {"coding": [{"system": CLINICAL, "code": "Active"}]},
        {"coding": [{"system": "http://example.org", "code": "active"}]},
        {"coding": [{"code": "active"}], "text": "active"},
    ],
)
def test_concept_without_a_coding_of_the_value_set_is_refused(status: Any, validate: Validate) -> None:
    (issue,) = validate(condition(status))

    assert (issue.severity, issue.code, issue.expression) == (
        "error",
        "code-invalid",
        ("Condition.clinicalStatus.coding",),
    )
    assert f"{CLINICAL}|active" in issue.diagnostics


@pytest.mark.parametrize(
    "coding",
    [
        {"system": CLINICAL},
        {"system": CLINICAL, "display": "Active"},
        {"system": "http://example.org"},
        {"system": CLINICAL, "_code": {"extension": [{"url": "http://example.org/absent", "valueCode": "unknown"}]}},
    ],
)
def test_coding_with_a_system_and_without_a_code_is_refused(coding: Any, validate: Validate) -> None:
    (issue,) = validate(condition({"coding": [coding], "text": "active"}))

    assert (issue.severity, issue.code) == ("error", "code-invalid")
    assert issue.expression == ("Condition.clinicalStatus",)


ABSENT = {"extension": [{"url": f"{CORE}data-absent-reason", "valueCode": "unknown"}]}


@pytest.mark.parametrize(
    ("resource", "expression"),
    [
        (
            {"resourceType": "Basic", "code": {"text": "a"}, "identifier": [{"_use": ABSENT, "value": "1"}]},
            "Basic.identifier[0].use",
        ),
        (
            {"resourceType": "Observation", "_status": ABSENT, "code": {"text": "a"}},
            "Observation.status",
        ),
        ({"resourceType": "Patient", "_gender": ABSENT}, "Patient.gender"),
        ({"resourceType": "Patient", "name": [{"_use": ABSENT, "text": "a"}]}, "Patient.name[0].use"),
        (
            {"resourceType": "AllergyIntolerance", "patient": {"display": "a"}, "_category": [ABSENT]},
            "AllergyIntolerance.category[0]",
        ),
        (
            {
                "resourceType": "AllergyIntolerance",
                "patient": {"display": "a"},
                "category": ["food", None],
                "_category": [None, ABSENT],
            },
            "AllergyIntolerance.category[1]",
        ),
    ],
)
def test_an_extension_is_no_code_of_a_required_value_set(resource: Any, expression: str, validate: Validate) -> None:
    (issue,) = [i for i in validate(resource) if i.is_error]

    assert (issue.code, issue.expression) == ("code-invalid", (expression,))
    assert "requires one" in issue.diagnostics


@pytest.mark.parametrize(
    "more",
    [
        {"gender": "male", "_gender": ABSENT},
        {"_birthDate": ABSENT},
        {"_language": ABSENT},
        {"communication": [{"language": {"text": "a"}, "_preferred": ABSENT}]},
    ],
    ids=["beside a code", "no code", "not required", "boolean"],
)
def test_an_extension_elsewhere_is_accepted(more: Any, validate: Validate) -> None:
    assert [i for i in validate({"resourceType": "Patient", **more}) if i.is_error] == []


@pytest.mark.parametrize("status", [{"text": "active"}, {"coding": [{"display": "Active"}]}])
def test_concept_without_any_code_gives_a_warning(status: Any, validate: Validate) -> None:
    (issue,) = validate(condition(status))

    assert (issue.severity, issue.code, issue.expression) == (
        "warning",
        "code-invalid",
        ("Condition.clinicalStatus",),
    )


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("application/whatever", None),
        ("text/plain; charset=utf-8", None),
        (" application/pdf", "value"),
        ("pdf", "code-invalid"),
    ],
)
def test_media_types_are_checked_by_their_grammar(validate: Validate, content_type: str, code: str | None) -> None:
    issues = validate({"resourceType": "Binary", "contentType": content_type})
    assert [(i.severity, i.code) for i in issues] == ([("error", code)] if code else [])


def test_currencies_are_checked_by_their_grammar(validate: Validate) -> None:
    def invoice(currency: str) -> list[str]:
        money = {"value": 1, "currency": currency}
        return [i.code for i in validate({"resourceType": "Invoice", "status": "issued", "totalNet": money})]

    assert invoice("EUR") == []
    assert invoice("euro") == ["code-invalid"]


def test_a_required_code_system_that_is_not_available_gives_a_warning_that_names_it(validate: Validate) -> None:
    def estimate(unit: Any) -> list[Issue]:
        made = {
            "resourceType": "RiskEvidenceSynthesis",
            "status": "draft",
            "population": {"display": "a"},
            "outcome": {"display": "b"},
            "riskEstimate": {"unitOfMeasure": unit},
        }
        return validate(made)

    (issue,) = estimate({"coding": [{"system": "http://unitsofmeasure.org", "code": "mg"}]})
    assert (issue.severity, issue.code) == ("warning", "not-supported")
    assert "the code system http://unitsofmeasure.org is not available" in issue.diagnostics
    assert estimate({"text": "mg"}) == []


def test_preferred_and_extensible_bindings_accept_other_codes(validate: Validate) -> None:
    other = {"coding": [{"system": "http://example.org", "code": "other"}]}

    assert validate({"resourceType": "Patient", "language": "tlh", "maritalStatus": other}) == []
