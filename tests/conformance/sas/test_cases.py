"""../shared/sas/cases over HTTP: `$validate` has the verdict, the place and the rule of the index."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import pytest
from support.api import Api, Template
from support.shared import SHARED, example, example_names, needs_examples

CASES = SHARED / "sas" / "cases"

pytestmark = [needs_examples, pytest.mark.skipif(not CASES.is_dir(), reason="../shared/sas/cases is not here")]

# The index names the element of the profile; the rule is told by the definition of the part.
OPERATOR = r"Appointment\.extension:appointmentOperator\.value\[x\]:valueReference.*"
TOLD_BY = {
    "bundle-ps-busy-slot-inside.json": r"Bundle\.entry:FrSlotAgregateur\.resource",
    "slot-ps-security-short-system.json": r"Slot\.meta\.security",
    "appointment-operator-type-system.json": OPERATOR,
    "appointment-sos-operator-rpps-type.json": OPERATOR,
    "slot-cpts-extension-string.json": r"Slot\.serviceType:referencecpts\.extension:sas-servicetype-r5\.value\[x\]",
}
# Rules of R4 itself, which no profile states.
OF_R4 = {
    "slot-ps-start-without-offset.json": "time zone is missing",
    "slot-ps-empty-comment.json": "empty",
    "slot-ps-no-schedule.json": "required, but missing",
    "slot-ps-no-end.json": "required, but missing",
    "schedule-ps-no-actor.json": "required, but missing",
}


def rows() -> list[dict[str, str]]:
    if not CASES.is_dir():
        return []
    with (CASES / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


BUNDLES = (
    [f"Bundle-ExampleBundle{name}.json" for name in ("PSIndiv", "CPTS1", "CPTS2", "AgregateurSOS")] if rows() else []
)
STRUCTURE = [r for r in rows() if r["layer"] == "structure"]


def is_invariant(row: dict[str, str]) -> bool:
    return "invariant" in row["rule_violated"].partition("(")[0]


def name(row: dict[str, str]) -> str:
    return row["file"]


@pytest.fixture(scope="module")
def server(sas_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Any:
    api = sas_template.fresh(tmp_path_factory.mktemp("cases") / "cases.db")
    yield api
    api.ctx.store.close()


def errors(api: Api, row: dict[str, str], how: str) -> list[dict[str, Any]]:
    body = json.loads((CASES / row["file"]).read_bytes())
    path = f"{body['resourceType']}/$validate"
    answer = api.post(f"{path}?profile={row['profile']}", body) if how == "profile asked for" else api.post(path, body)
    assert answer.status_code == 200, answer.text
    return [i for i in answer.get_json()["issue"] if i["severity"] == "error"]


def test_there_are_87_of_the_layer_structure() -> None:
    assert len(STRUCTURE) == 87


@pytest.mark.parametrize("how", ["profile asked for", "profile claimed"])
@pytest.mark.parametrize("row", STRUCTURE, ids=name)
def test_the_verdict_and_the_place_are_those_of_the_index(server: Api, row: dict[str, str], how: str) -> None:
    found = errors(server, row, how)
    assert (found == []) is (row["valid"] == "yes"), found
    wanted = re.sub(r":[^.]+|\[x\]", "", row["element_path"])
    # Invariants of R4 fail for the same cause, at the object as a whole (the index names two); rules of business, which
    # the server has beside the profile of a message, have places of their own.
    assert found == [] or any(i["code"] not in ("invariant", "business-rule") for i in found) or is_invariant(row)
    for issue in (i for i in found if i["code"] != "business-rule"):
        given = re.sub(r"\[\d+\]", "", issue["expression"][0])
        if issue["code"] == "invariant" and wanted.startswith(given):
            continue
        assert given == wanted or given.startswith(wanted + "."), issue


@pytest.mark.parametrize("row", [r for r in STRUCTURE if r["valid"] == "no"], ids=name)
def test_the_rule_is_named(server: Api, row: dict[str, str]) -> None:
    texts = [i["diagnostics"] for i in errors(server, row, "profile asked for")]
    if row["file"] in OF_R4:
        assert any(OF_R4[row["file"]] in t for t in texts), texts
        return
    element = TOLD_BY.get(row["file"]) or re.escape(row["element_path"])
    rule = rf"\[\w+.* of {element}[:.\w-]* in {re.escape(row['profile'])}\]"
    assert any(re.search(rule, t) for t in texts), texts


@pytest.mark.parametrize("file", [*example_names(), *BUNDLES])
def test_official_examples_are_valid(server: Api, file: str) -> None:
    """Text-only specialties, which the official build reports as errors, are warnings here (SPEC §20, no. 12)."""
    resource = example(file)
    answer = server.post(f"{resource['resourceType']}/$validate", resource)
    faults = [i for i in answer.get_json()["issue"] if i["severity"] == "error"]
    assert faults == []
