"""Issues as JSON: https://hl7.org/fhir/R4/operationoutcome.html"""

from __future__ import annotations

from fhirstore.errors import Issue, error
from fhirstore.model.issues import RULE_SYSTEM


def test_an_issue_carries_the_name_of_its_rule_as_a_coding() -> None:
    shown = Issue("error", "business-rule", "Too late.", ("Slot.start",), "too-late").to_json()
    assert shown["details"] == {"coding": [{"system": RULE_SYSTEM, "code": "too-late"}]}
    assert list(shown) == ["severity", "code", "details", "diagnostics", "expression"]


def test_a_rule_may_name_its_system_even_one_with_a_version() -> None:
    shown = Issue("error", "value", "Not so.", rule="http://example.org/profile|1.0|status").to_json()
    assert shown["details"] == {"coding": [{"system": "http://example.org/profile|1.0", "code": "status"}]}


def test_without_a_rule_there_are_no_details() -> None:
    assert "details" not in Issue("error", "value", "Not so.").to_json()


def test_a_refusal_may_name_its_rule() -> None:
    assert error(422, "business-rule", "Too late.", "Slot.start", rule="too-late").issues[0].rule == "too-late"
