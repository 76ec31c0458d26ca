"""The sample plugin of docs/: JSON alone adds a search parameter and a profile to Patient."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from support.api import Api, Template, patient

from fhirstore.formats.json import compose
from fhirstore.interactions.write import extract_index

PLUGIN = Path(__file__).resolve().parents[2] / "docs" / "examples" / "json-plugin"
BIRTH_PLACE = "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"


@pytest.fixture(scope="module")
def with_plugin() -> Template:
    return Template.make(plugins=(str(PLUGIN),))


@pytest.fixture
def clinic(with_plugin: Template, tmp_path: Path) -> Api:
    return with_plugin.fresh(tmp_path / "clinic.db")


def born(city: str) -> dict[str, object]:
    return patient(extension=[{"url": BIRTH_PLACE, "valueAddress": {"city": city}}])


def test_its_search_parameter_finds_patients(clinic: Api) -> None:
    id = clinic.created(born("Rennes"))["id"]
    clinic.created(born("Brest"))
    assert clinic.ids("Patient?birthplace-city=ren") == [id]
    assert clinic.ids("Patient?birthplace-city=ren&family=martin") == [id]


def test_metadata_lists_what_the_plugin_adds(clinic: Api) -> None:
    rest = clinic.get("metadata").get_json()["rest"][0]
    served = next(r for r in rest["resource"] if r["type"] == "Patient")
    assert "birthplace-city" in {p["name"] for p in served["searchParam"]}
    assert any("identified-patient" in profile for profile in served["supportedProfile"])


def test_without_it_the_parameter_is_unknown(template: Template, tmp_path: Path) -> None:
    api = template.fresh(tmp_path / "plain.db")
    assert api.get("Patient?birthplace-city=ren", Prefer="handling=strict").status_code == 400


def test_resources_stored_before_it_came_are_found_after_a_reindex(
    template: Template, with_plugin: Template, tmp_path: Path
) -> None:
    before = template.fresh(tmp_path / "store.db")
    id = before.created(born("Rennes"))["id"]
    before.ctx.store.close()
    after = with_plugin.fresh(tmp_path / "store.db")
    refused = after.get("Patient?birthplace-city=ren")
    assert refused.status_code == 422
    assert "reindex" in refused.get_json()["issue"][0]["diagnostics"]
    assert after.ids("Patient?family=martin") == [id]
    done = after.ctx.store.reindex(
        lambda s: extract_index(after.ctx, s.type, json.loads(compose(s), parse_float=Decimal))
    )
    assert done == 1
    assert after.ids("Patient?birthplace-city=ren") == [id]
