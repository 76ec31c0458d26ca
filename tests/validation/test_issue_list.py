"""How issues are reported: the number of issues, the values and names in messages and paths."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fhirstore.definitions.core import Definitions
from fhirstore.errors import Issue
from fhirstore.validation.issue_list import MAX_ISSUES
from fhirstore.validation.structure import StructureValidator
from fhirstore.validation.text import describe, listed, near, segment

Validate = Callable[[Any], list[Issue]]


def test_report_ends_after_the_greatest_number_of_issues_with_a_remark(validate: Validate) -> None:
    issues = validate({"resourceType": "Patient", "name": [{"foo": 1}] * 5000})

    assert len(issues) == MAX_ISSUES + 1
    assert (issues[-1].severity, issues[-1].code) == ("error", "incomplete")
    assert issues[0].expression == ("Patient.name[0].foo",)
    assert issues[MAX_ISSUES - 1].expression == (f"Patient.name[{MAX_ISSUES - 1}].foo",)


def test_exactly_the_greatest_number_of_issues_has_no_remark(validate: Validate) -> None:
    issues = validate({"resourceType": "Patient", "name": [{"foo": 1}] * MAX_ISSUES})

    assert [i.code for i in issues] == ["structure"] * MAX_ISSUES


def test_warnings_never_hide_an_error(validate: Validate) -> None:
    condition = {"resourceType": "Condition", "subject": {"display": "a"}, "clinicalStatus": {"text": "a"}}
    entries: list[Any] = [{"resource": condition}] * 500 + [{"foo": 1}]

    issues = validate({"resourceType": "Bundle", "type": "collection", "entry": entries})

    assert [i.expression for i in issues if i.is_error] == [("Bundle.entry[500].foo",)]
    assert len(issues) == MAX_ISSUES + 1


def test_only_warnings_end_with_a_warning(validate: Validate) -> None:
    condition = {"resourceType": "Condition", "subject": {"display": "a"}, "clinicalStatus": {"text": "a"}}

    issues = validate({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": condition}] * 500})

    assert {i.severity for i in issues} == {"warning"}
    assert len(issues) == MAX_ISSUES + 1


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "name": [{"foo": 1}] * 5000},
        {"resourceType": "Patient"} | {f"foo{n}": 1 for n in range(5000)},
        {"resourceType": "Condition", "subject": {"display": "a"}, "bodySite": [1] * 5000},
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [
                {
                    "resource": {
                        "resourceType": "Condition",
                        "subject": {"display": "a"},
                        "clinicalStatus": {"text": "a"},
                    }
                }
            ]
            * 5000,
        },
    ],
    ids=["objects", "properties", "values", "warnings"],
)
def test_checking_ends_when_the_report_is_full(resource: Any, core: Definitions) -> None:
    found = StructureValidator(core).resource(resource)

    assert found is not None
    assert MAX_ISSUES < len(found.errors) + len(found.warnings) <= 2 * MAX_ISSUES


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a", "the string 'a'"),
        ("x" * 100, "of 100 characters"),
        ("\ud800\x00é", "the string '\\ud800\\x00é'"),
        (None, "null"),
        (True, "the boolean true"),
        (False, "the boolean false"),
        (7, "the number 7"),
        (2**250, "a number of 251 bits"),
        (Decimal("1.50"), "the number 1.50"),
        (1.5, "the number 1.5"),
        ({}, "an object"),
        ([], "an array"),
    ],
)
def test_value_in_a_message_is_short_and_can_be_sent(value: Any, words: str) -> None:
    text = describe(value)

    assert words in text
    assert len(text) < 150
    assert text.encode("utf-8")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("name", ".name"),
        ("_name", "._name"),
        ("", ".``"),
        ("a b", ".`a b`"),
        ("a`b", ".`a\\`b`"),
        ("\ud800", ".`\\ud800`"),
        ("x" * 70, ".`" + "x" * 60 + "`"),
    ],
)
def test_property_in_a_path_is_an_identifier(key: str, path: str) -> None:
    assert segment(key) == path


def test_number_too_long_to_be_written_has_a_description() -> None:
    assert describe(10**5000) == "a number of 16610 bits"


def test_near_name_is_proposed_only_when_there_is_one() -> None:
    assert near("Patiant", ["Patient", "Slot"]) == "; did you mean 'Patient'?"
    assert near("ACTIVE", ["active", "inactive"]) == "; did you mean 'active'?"
    assert near("xyz", ["Patient", "Slot"]) == ""


def test_long_lists_are_cut() -> None:
    assert listed(["b", "a"]) == "a, b"
    assert listed(str(n) for n in range(100, 200)).endswith("124… (100 in all)")
