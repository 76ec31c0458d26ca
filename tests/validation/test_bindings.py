"""https://hl7.org/fhir/R4/terminologies.html#required: CodeableConcepts that must hold a code of a value set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.errors import Issue

Validate = Callable[[Any], list[Issue]]

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


@pytest.mark.parametrize("status", [{"text": "active"}, {"coding": [{"display": "Active"}]}])
def test_concept_without_any_code_gives_a_warning(status: Any, validate: Validate) -> None:
    (issue,) = validate(condition(status))

    assert (issue.severity, issue.code, issue.expression) == (
        "warning",
        "code-invalid",
        ("Condition.clinicalStatus",),
    )


def test_code_of_a_value_set_that_cannot_be_listed_is_checked_as_a_code(validate: Validate) -> None:
    def binary(content_type: str) -> list[Issue]:
        return validate({"resourceType": "Binary", "contentType": content_type})

    assert binary("application/whatever") == []
    assert [i.code for i in binary(" application/pdf")] == ["value"]


def test_preferred_and_extensible_bindings_accept_other_codes(validate: Validate) -> None:
    other = {"coding": [{"system": "http://example.org", "code": "other"}]}

    assert validate({"resourceType": "Patient", "language": "tlh", "maritalStatus": other}) == []
