"""The official SAS examples and test cases are what R4 says, but for the faults named here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fhirstore.errors import Issue

Validate = Callable[[Any], list[Issue]]

SAS = Path(__file__).resolve().parents[3] / "shared" / "sas"
EXAMPLES = sorted((SAS / "ig" / "examples").glob("*.json"))
CASES = sorted((SAS / "cases").glob("*.json"))

pytestmark = pytest.mark.skipif(not SAS.is_dir(), reason="the SAS material (../shared/sas) is not here")

BASE_FAULTS = {
    # cases of profile violations that break a rule of R4 as well
    "schedule-ps-no-actor.json": ("required", "Schedule.actor"),  # 1..* in R4
    "slot-ps-empty-comment.json": ("value", "Slot.comment"),  # no string is empty
    "slot-ps-no-end.json": ("required", "Slot.end"),  # 1..1 in R4
    "slot-ps-no-schedule.json": ("required", "Slot.schedule"),  # 1..1 in R4
    "slot-ps-start-without-offset.json": ("value", "Slot.start"),  # an instant has an offset
}
# invariants of R4 that fail for the same cause as the rule of the profile
BROKEN_INVARIANTS = {
    "appointment-no-end.json": ["app-2", "app-3"],
    "practitioner-telecom-without-system.json": ["cpt-2"],
}


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"), parse_float=Decimal)


def test_material_is_complete() -> None:
    assert len(EXAMPLES) == 45
    with (SAS / "cases" / "index.csv").open(encoding="utf-8", newline="") as lines:
        valid = {row["file"]: row["valid"] == "yes" for row in csv.DictReader(lines)}
    assert set(valid) == {path.name for path in CASES}
    assert not any(valid[name] for name in BASE_FAULTS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_official_example_has_no_issues(path: Path, validate: Validate) -> None:
    assert validate(read(path)) == []


@pytest.mark.parametrize(
    "path", [p for p in CASES if p.name not in {**BASE_FAULTS, **BROKEN_INVARIANTS}], ids=lambda p: p.stem
)
def test_case_that_breaks_no_rule_of_r4_has_no_issues(path: Path, validate: Validate) -> None:
    assert validate(read(path)) == []


@pytest.mark.parametrize("name", BASE_FAULTS)
def test_case_that_breaks_a_rule_of_r4_is_refused_for_it(name: str, validate: Validate) -> None:
    (issue,) = validate(read(SAS / "cases" / name))

    assert (issue.code, issue.expression[0]) == BASE_FAULTS[name]


@pytest.mark.parametrize("name", BROKEN_INVARIANTS)
def test_case_that_breaks_an_invariant_of_r4_is_refused_for_it(name: str, validate: Validate) -> None:
    found = validate(read(SAS / "cases" / name))

    assert [i.code for i in found] == ["invariant"] * len(found)
    assert [i.diagnostics.split(": ")[1] for i in found] == BROKEN_INVARIANTS[name]
