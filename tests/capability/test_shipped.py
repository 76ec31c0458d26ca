"""The statements that come with fhirstore, and those of the SAS guide."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from fhirstore.capability.build import build_registry, read_statement
from fhirstore.capability.registry import Registry
from fhirstore.capability.sources import statement_folder
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.packages import read_package
from fhirstore.errors import StartupError

ROOT = Path(__file__).resolve().parents[2]
SAS_PACKAGE = ROOT / "plugins/sas/src/fhirstore_sas/package"
GUIDE = ROOT.parent / "shared/sas/ig/conformance"
WITH_SAS = pytest.mark.skipif(
    not (SAS_PACKAGE / "package.json").is_file(), reason="the SAS plugin is not in this checkout"
)
CHAIN = "schedule.actor:Practitioner.identifier"


@pytest.fixture(scope="module")
def full() -> Registry:
    catalog = Catalog(load())
    return build_registry(catalog, *read_statement("r4-full", catalog))


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_capability", ROOT / "tools/build_capability.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_r4_full_is_what_the_tool_writes(generator: ModuleType) -> None:
    written = generator.render(generator.statement(Catalog(load())))
    assert (statement_folder() / "r4-full.json").read_text("utf-8") == written


def test_r4_full_serves_all_types_and_interactions(full: Registry) -> None:
    assert set(full.types) == load().resource_types
    assert full.interactions == {"transaction", "batch", "history-system"}
    for served in full.types.values():
        assert served.interactions == {
            "read",
            "vread",
            "update",
            "delete",
            "history-instance",
            "history-type",
            "create",
            "search-type",
        }


def test_r4_full_leaves_out_only_composite_and_special_parameters(full: Registry) -> None:
    left_out = {
        (type, code): definition.type
        for type, served in full.types.items()
        for code, definition in full.catalog.search_parameters_for(type).items()
        if code not in served.params and code not in ("_id", "_lastUpdated")
    }
    assert set(left_out.values()) <= {"composite", "special"}


def test_sas_editor_without_its_plugin_says_which_definition_is_missing_and_how_to_load_it() -> None:
    catalog = Catalog(load())
    with pytest.raises(
        StartupError, match=r"sas-editor\.json: rest.*loaded package defines .*slot-sp-start .*--plugin"
    ):
        build_registry(catalog, *read_statement("sas-editor", catalog))


@pytest.fixture(scope="module")
def sas_catalog() -> Catalog:
    return Catalog(load(), [read_package(SAS_PACKAGE)])


@WITH_SAS
def test_sas_editor_serves_the_searches_of_the_platform(sas_catalog: Catalog) -> None:
    registry = build_registry(sas_catalog, *read_statement("sas-editor", sas_catalog))
    slot = registry.types["Slot"]
    assert {"start", "status", "schedule", "service-type-reference"} <= set(slot.params)
    assert slot.includes == {
        "Slot:schedule",
        "Schedule:actor",
        "Slot:service-type-reference",
        "HealthcareService:organization",
    }
    assert registry.types["Schedule"].rev_includes == {"Slot:schedule"}
    practitioner = registry.types["Practitioner"]
    assert practitioner.conditional_update
    assert practitioner.update_create
    told = registry.statement["rest"][0]["resource"][0]["searchParam"]
    assert CHAIN in [p["name"] for p in told]


@WITH_SAS
def test_r4_full_gains_what_the_plugin_defines(sas_catalog: Catalog) -> None:
    slot = build_registry(sas_catalog, *read_statement("r4-full", sas_catalog)).types["Slot"]
    assert slot.params["service-type-reference"].type == "reference"
    assert slot.params["start"].url.endswith("/slot-sp-start")
    assert "http://sas.fr/fhir/StructureDefinition/FrSlotAgregateur" in slot.supported_profiles


@pytest.mark.skipif(not GUIDE.is_dir(), reason="the SAS guide is unavailable")
@pytest.mark.parametrize("name", sorted(p.stem for p in GUIDE.glob("CapabilityStatement-*-Gestionnaire*.json")))
def test_the_server_statements_of_the_guide_are_served_as_they_are(name: str, tmp_path: Path) -> None:
    for file in GUIDE.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "package.json").write_text(json.dumps({"name": "guide", "version": "1.2.0"}))
    catalog = Catalog(load(), [read_package(tmp_path)])
    statement, where = read_statement(name.removeprefix("CapabilityStatement-"), catalog)
    registry = build_registry(catalog, statement, where)
    assert list(registry.types) == [r["type"] for r in statement["rest"][0]["resource"]]
