"""docs/sas: what the tables must name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirstore_sas.check.run import RULES
from fhirstore_sas.findings import REASONS_LEFT_OUT
from fhirstore_sas.profile_rules import PROFILE_RULES

DOCS = Path(__file__).resolve().parents[3] / "docs" / "sas"
ROWS = [line.strip("| ").split(" | ") for line in (DOCS / "requirements.md").read_text("utf-8").splitlines()]
REQUIREMENTS = {row[0]: row for row in ROWS if row[0].isdigit()}


@pytest.mark.parametrize("number", range(1, 50))
def test_each_requirement_names_a_test(number: int) -> None:
    """Whether the test is there is seen by tools/check_docs.py."""
    assert "::test_" in REQUIREMENTS[str(number)][2]


def test_the_rules_on_writes_are_described() -> None:
    text = (DOCS / "rules.md").read_text("utf-8")
    applied = {duty.rule for duties in PROFILE_RULES.values() for duty in duties}
    assert [rule for rule in sorted(applied) if f"`{rule}`" not in text] == []
    assert applied <= RULES.keys()


def test_the_reasons_to_leave_a_slot_out_are_described() -> None:
    text = (DOCS / "check.md").read_text("utf-8")
    assert [rule for rule in REASONS_LEFT_OUT if f"| `{rule}` |" not in text] == []
