"""The deployment capability/sas-editor.json with the SAS plugin, on its demo agenda; nothing else is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, Template, issue, patient

from fhirstore.interactions.bulk import put_many

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def editor_template() -> Template:
    return Template.make(capability=str(ROOT / "capability" / "sas-editor.json"), plugins=("sas",))


@pytest.fixture
def editor(editor_template: Template, tmp_path: Path) -> Iterator[Api]:
    api = editor_template.fresh(tmp_path / "editor.db")
    for resources in api.ctx.plugins.hook.demo():
        assert [ref for ref, issues in put_many(api.ctx, resources) if issues] == []
    yield api
    api.ctx.store.close()


def test_the_demo_queries_find_slots(editor: Api) -> None:
    queries = [q for found in editor.ctx.plugins.hook.demo_queries(base="http://localhost/fhir") for q in found]
    assert len(queries) >= 3
    for title, url in queries:
        answer = editor.get(url.replace("http://localhost/fhir/", "")).get_json()
        assert answer["resourceType"] == "Bundle", (title, answer)
        assert answer["total"] > 0, title


def test_the_demo_has_nothing_that_the_platform_is_not_shown(editor: Api) -> None:
    said = {p["name"]: p for p in editor.get("$sas-check?count=5000").get_json()["parameter"]}
    assert said["examined"]["valueInteger"] > 100
    assert said["left-out"]["valueInteger"] == 0
    assert "finding" not in said


def test_types_that_are_not_declared_are_not_served(editor: Api) -> None:
    answer = editor.post("Patient", patient())
    assert answer.status_code == 404
    assert "Patient" in issue(answer)["diagnostics"]


def test_parameters_that_are_not_declared_are_refused_under_strict_handling(editor: Api) -> None:
    answer = editor.get("Slot?service-category=x", Prefer="handling=strict")
    assert answer.status_code == 400
    assert "start" in issue(answer)["diagnostics"]


def test_metadata_promises_what_the_sas_asks_for(editor: Api) -> None:
    rest = editor.get("metadata").get_json()["rest"][0]
    served = {r["type"]: r for r in rest["resource"]}
    assert {
        "Slot",
        "Schedule",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "HealthcareService",
    } <= served.keys()
    assert {"start", "status", "service-type-reference"} <= {p["name"] for p in served["Slot"]["searchParam"]}
