"""/metadata tells what is served, in the form that R4 wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from fhirstore import __version__
from fhirstore.capability.build import build_registry, read_statement
from fhirstore.capability.registry import Registry
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load

Build = Callable[..., Registry]
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def full() -> Registry:
    catalog = Catalog(load())
    return build_registry(catalog, *read_statement("r4-full", catalog))


def test_it_is_a_valid_capability_statement(full: Registry) -> None:
    CapabilityStatement.model_validate_json(msgspec.json.encode(full.statement | {"date": "2026-01-01"}))


def test_it_lists_the_parameters_that_are_served_and_no_others(full: Registry) -> None:
    for resource in full.statement["rest"][0]["resource"]:
        params = full.types[resource["type"]].params.values()
        served = {(p.code, p.url, p.type) for p in params if p.declared}
        told = [(p["name"], p["definition"], p["type"]) for p in resource["searchParam"]]
        assert {t[0] for t in told[:2]} == {"_id", "_lastUpdated"}
        assert sorted(told[2:]) == sorted(served)


def test_it_lists_the_interactions_that_are_served_and_no_others(full: Registry) -> None:
    rest = full.statement["rest"][0]
    assert {i["code"] for i in rest["interaction"]} == full.interactions
    for resource in rest["resource"]:
        assert {i["code"] for i in resource["interaction"]} == full.types[resource["type"]].interactions


def test_software_kind_and_version_are_those_of_the_server(build: Build, statement: Make) -> None:
    made = build(
        statement({"type": "Slot"}) | {"kind": "requirements", "fhirVersion": "4.0", "title": "Mine"}
    ).statement
    assert (made["kind"], made["fhirVersion"]) == ("instance", "4.0.1")
    assert made["software"] == {"name": "fhirstore", "version": __version__}
    assert made["implementation"] == {"description": "Mine"}


def test_formats_of_all_statements_are_listed_once(build: Build, statement: Make, package: Make) -> None:
    found = package(statement({"type": "Slot"}) | {"url": "http://s/1", "format": ["json", "application/fhir+json"]})
    mine = statement({"type": "Slot"}) | {"imports": ["http://s/1"]}
    assert build(mine, found).statement["format"] == ["application/fhir+json", "json"]


def test_history_of_versions_is_promised_where_vread_is_served(build: Build, statement: Make) -> None:
    registry = build(
        statement({"type": "Slot", "interaction": [{"code": "vread"}]}, {"type": "Patient", "readHistory": True})
    )
    assert [r["readHistory"] for r in registry.statement["rest"][0]["resource"]] == [True, False]


def test_a_type_without_profile_shows_that_of_r4(build: Build, statement: Make) -> None:
    slot = build(statement({"type": "Slot"})).statement["rest"][0]["resource"][0]
    assert slot["profile"] == "http://hl7.org/fhir/StructureDefinition/Slot"


def test_includes_policies_documentation_and_security_are_shown_as_declared(build: Build, statement: Make) -> None:
    said = {
        "type": "Slot",
        "documentation": "Free slots.",
        "referencePolicy": ["literal"],
        "searchInclude": ["Slot:schedule", "Schedule:actor"],
        "searchRevInclude": ["Appointment:slot"],
    }
    rest = build(statement(said, documentation="All.", security={"cors": False})).statement["rest"][0]
    assert {key: rest["resource"][0][key] for key in said} == said
    assert (rest["documentation"], rest["security"]) == ("All.", {"cors": False})
    assert "interaction" not in rest
