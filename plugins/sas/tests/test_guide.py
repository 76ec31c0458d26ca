"""docs/sas: the agenda of the guide is what the platform wants, the tests and rules of the requirements are there."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import httpx
from support.api import Api

from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.queries import PARIS
from fhirstore_sas.check.run import RULES, CheckPlan, run
from fhirstore_sas.searches import PS

ROOT = Path(__file__).resolve().parents[3]
GUIDE, REQUIREMENTS = (ROOT / "docs" / "sas" / name for name in ("editor.md", "requirements.md"))


def test_the_agenda_of_the_guide_passes_the_check(api: Api) -> None:
    (lines,) = re.findall(r"```json\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    for resource in map(json.loads, lines.splitlines()):
        assert api.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    plan = CheckPlan((PS,), ("899900000101",), max_seconds=1000.0)
    with EndpointClient("http://localhost/fhir", transport=httpx.WSGITransport(api.app)) as client:
        report = run(client, plan, api.ctx.validator.validate, datetime(2026, 12, 7, 8, tzinfo=PARIS))
    assert [finding.rule.id for finding in report.findings] == []
    assert "slot-comment" in {rule.id for rule in report.passed}


def test_every_requirement_is_in_the_table() -> None:
    numbers = re.findall(r"^\| (\d+) \|", REQUIREMENTS.read_text("utf-8"), re.MULTILINE)
    assert numbers == [str(n) for n in range(1, 50)]


def test_the_rules_named_in_the_table_are_there() -> None:
    rows = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if re.match(r"\| \d", line)]
    named = {found[1] for row in rows if (found := re.search(r"\| `([a-z-]+)` \|$", row))}
    assert named <= RULES.keys()
    assert len(named) > 15
