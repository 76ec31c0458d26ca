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

# The index names the element of the profile; the definition of the element names the rule.
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
    "slot-ps-no-schedule.json": "missing; at least 1 required",
    "slot-ps-no-end.json": "missing; at least 1 required",
    "schedule-ps-no-actor.json": "missing; at least 1 required",
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
BUSINESS = [r for r in rows() if r["layer"] == "business"]

# The rule that names what is wrong (docs/sas/rules.md).
RULES = {
    "slot-ps-start-z-no-millis.json": "slot-instant",
    "slot-ps-no-comment.json": "slot-comment",
    "slot-ps-comment-not-url.json": "slot-comment",
    "slot-ps-end-before-start.json": "slot-order",
    "slot-ps-appointmenttype-checkup.json": "slot-appointment",
    "slot-cpts-without-cpts-label.json": "slot-cpts",
    "schedule-ps-practitioner-only.json": "schedule-actor",
    "practitioner-rpps-without-prefix.json": "practitioner-identifier",
    "regul-no-name.json": "account-name",
    "regul-no-telecom.json": "account-telecom",
    "role-national-phone.json": "phone",
    "role-structure-without-prefix.json": "role-structure",
    "appointment-unhandled-status.json": "appointment-status",
    "bundle-ps-no-total.json": "bundle-total",
}
# What is beyond doubt is corrected when it is written: then the resource that is stored is as it should be.
CORRECTED = {
    "slot-ps-start-z-no-millis.json": "2021-11-05T09:00:00.000+00:00",
    "practitioner-rpps-without-prefix.json": "810002909371",
    "role-national-phone.json": "+33561855977",
    "role-structure-without-prefix.json": "1810004421",
}


def is_invariant(row: dict[str, str]) -> bool:
    return "invariant" in row["rule_violated"].partition("(")[0]


def name(row: dict[str, str]) -> str:
    return row["file"]


@pytest.fixture(scope="module")
def server(sas_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Any:
    api = sas_template.fresh(tmp_path_factory.mktemp("cases") / "cases.db")
    yield api
    api.ctx.store.close()


@pytest.fixture(scope="module")
def uncorrected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    template = Template.make(plugins=("sas",), plugin_options=("sas.corrections=off",))
    api = template.fresh(tmp_path_factory.mktemp("uncorrected") / "cases.db")
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


def test_there_are_16_of_the_layer_business() -> None:
    assert len(BUSINESS) == 16
    assert set(RULES) == {r["file"] for r in BUSINESS if r["valid"] == "no"}


@pytest.mark.parametrize("how", ["profile asked for", "profile claimed"])
@pytest.mark.parametrize("row", BUSINESS, ids=name)
def test_rules_of_business_have_the_verdict_of_the_index(server: Api, row: dict[str, str], how: str) -> None:
    """`$validate` judges the file as it is, before corrections."""
    found = errors(server, row, how)
    assert (found == []) is (row["valid"] == "yes"), found
    assert {i["code"] for i in found} <= {"business-rule"}
    for issue in found:
        assert issue["details"]["coding"] == [{"system": "urn:fhirstore:rule", "code": RULES[row["file"]]}]
        assert re.sub(r"\[\d+\]", "", issue["expression"][0]) == row["element_path"]


def written(api: Api, row: dict[str, str]) -> Any:
    body = json.loads((CASES / row["file"]).read_bytes())
    path = f"{body['resourceType']}/{row['file'].removesuffix('.json')}"
    return path, api.put(path, {**body, "id": path.partition("/")[2]}, Prefer="return=OperationOutcome")


@pytest.mark.parametrize("row", BUSINESS, ids=name)
def test_a_write_has_the_verdict_of_the_index(uncorrected: Api, row: dict[str, str]) -> None:
    path, answer = written(uncorrected, row)
    assert answer.status_code == (201 if row["valid"] == "yes" else 422), answer.text
    assert uncorrected.get(path).status_code == (200 if row["valid"] == "yes" else 404)


@pytest.mark.parametrize("row", BUSINESS, ids=name)
def test_a_write_that_can_be_corrected_is_corrected_with_a_message(server: Api, row: dict[str, str]) -> None:
    path, answer = written(server, row)
    if row["file"] not in CORRECTED:
        assert answer.status_code == (201 if row["valid"] == "yes" else 422), answer.text
        return
    assert answer.status_code == 201, answer.text
    told = [i["expression"][0] for i in answer.get_json()["issue"] if i["severity"] == "information"]
    assert [re.sub(r"\[\d+\]", "", place) for place in told] == [row["element_path"]]
    stored = server.get(path)
    assert f'"{CORRECTED[row["file"]]}"' in stored.text
    issues = server.post(f"{path.partition('/')[0]}/$validate", stored.get_json()).get_json()["issue"]
    assert [i for i in issues if i["severity"] == "error"] == []


@pytest.mark.parametrize("file", [*example_names(), *BUNDLES])
def test_official_examples_are_valid(server: Api, file: str) -> None:
    """Text-only specialties, which the official build reports as errors, are warnings here (SPEC §20, no. 12)."""
    resource = example(file)
    answer = server.post(f"{resource['resourceType']}/$validate", resource)
    faults = [i for i in answer.get_json()["issue"] if i["severity"] == "error"]
    assert faults == []
