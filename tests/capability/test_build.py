"""What is declared is served, what is not declared is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError

CORE = "http://hl7.org/fhir/SearchParameter/"
Build = Callable[..., Registry]
Make = Callable[..., Any]


def test_only_declared_types_interactions_and_parameters_are_served(build: Build, statement: Make) -> None:
    slot = {
        "type": "Slot",
        "interaction": [{"code": "read"}],
        "searchParam": [{"name": "status", "definition": f"{CORE}Slot-status", "type": "token"}],
    }
    registry = build(statement(slot, interaction=[{"code": "batch"}]))
    assert set(registry.types) == {"Slot"}
    assert registry.types["Slot"].interactions == {"read"}
    assert set(registry.types["Slot"].params) == {"status"}
    assert registry.interactions == {"batch"}


def test_flags_that_are_not_set_are_off(build: Build, statement: Make) -> None:
    slot = build(statement({"type": "Slot"})).types["Slot"]
    assert (slot.update_create, slot.conditional_create, slot.conditional_update) == (False, False, False)
    assert (slot.conditional_read, slot.conditional_delete) == ("not-supported", "not-supported")


def test_flags_that_are_set_are_taken_over(build: Build, statement: Make) -> None:
    slot = build(
        statement(
            {
                "type": "Slot",
                "versioning": "versioned-update",
                "updateCreate": True,
                "conditionalCreate": True,
                "conditionalRead": "not-match",
                "conditionalUpdate": True,
                "conditionalDelete": "multiple",
            }
        )
    ).types["Slot"]
    assert (slot.update_create, slot.conditional_create, slot.conditional_update) == (True, True, True)
    assert (slot.versioning, slot.conditional_read, slot.conditional_delete) == (
        "versioned-update",
        "not-match",
        "multiple",
    )


def test_the_code_of_a_parameter_is_that_of_its_definition(build: Build, statement: Make) -> None:
    said = {"name": "SearchSlotStatus", "definition": f"{CORE}Slot-status", "type": "token"}
    assert list(build(statement({"type": "Slot", "searchParam": [said]})).types["Slot"].params) == ["status"]


def test_a_parameter_without_definition_is_that_of_r4(build: Build, statement: Make) -> None:
    registry = build(statement({"type": "Slot", "searchParam": [{"name": "start", "type": "date"}]}))
    start = registry.types["Slot"].params["start"]
    assert (start.url, start.single, start.instant, start.declared) == (f"{CORE}Slot-start", True, True, True)
    assert start.extract({"resourceType": "Slot", "start": "2026-01-01T08:00:00Z"}) == [
        ("instant", "2026-01-01T08:00:00Z")
    ]


def test_parameters_of_the_rest_are_on_all_its_types(build: Build, statement: Make) -> None:
    registry = build(statement({"type": "Slot"}, {"type": "Patient"}, searchParam=[{"name": "_tag", "type": "token"}]))
    assert [set(registry.types[t].params) for t in ("Slot", "Patient")] == [{"_tag"}, {"_tag"}]


def test_built_in_parameters_are_not_indexed(build: Build, statement: Make) -> None:
    said = [{"name": "_id", "definition": f"{CORE}Resource-id", "type": "token"}, {"name": "_has", "type": "special"}]
    assert build(statement({"type": "Slot", "searchParam": said})).types["Slot"].params == {}


def test_the_registry_gives_served_types_the_very_params_that_are_indexed(build: Build, statement: Make) -> None:
    registry = build(statement({"type": "Slot", "searchInclude": ["Schedule:actor"]}))
    assert registry.indexed_types["Slot"] is registry.types["Slot"].params
    assert "Schedule" not in registry.types


def test_types_said_twice_are_merged(build: Build, statement: Make) -> None:
    registry = build(
        statement(
            {"type": "Slot", "interaction": [{"code": "read"}], "searchInclude": ["Slot:schedule"]},
            {"type": "Slot", "interaction": [{"code": "create"}], "searchParam": [{"name": "start", "type": "date"}]},
        )
    )
    slot = registry.types["Slot"]
    assert (slot.interactions, slot.includes) == ({"read", "create"}, {"Slot:schedule"})
    assert {c: p.declared for c, p in slot.params.items()} == {"start": True, "schedule": False}


def test_the_digest_changes_with_the_meaning_and_with_nothing_else(
    build: Build, statement: Make, package: Make, parameter: Make
) -> None:
    def digest(name: str, type: str, expression: str, **more: Any) -> str:
        found = package(parameter("Patient", "c", type, expression, **more), name=name)
        return build(statement({"type": "Patient"}), found).types["Patient"].params["c"].digest

    first = digest("a", "string", "Patient.name.family")
    assert digest("b", "string", "name.family", description="told otherwise", url="http://p/other") == first
    assert digest("c", "string", "Patient.name.given") != first
    assert digest("d", "token", "Patient.name.family") != first
    assert digest("e", "string", "Patient.name.family | Practitioner.name.family") == first


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"name": "a", "definition": "http://p/none", "type": "token"},
            r"x\.json: rest\[0\]\.resource\[0\]\.searchParam\[0\]\.definition: .* defines http://p/none .*--plugin",
        ),
        (
            {"name": "a", "definition": f"{CORE}Slot-statu", "type": "token"},
            r"similar canonicals: http://hl7\.org/fhir/SearchParameter/Slot-status",
        ),
        ({"name": "nope", "type": "token"}, r"searchParam\[0\]\.name: nope: R4 does not define .* for Slot .*schedule"),
        (
            {"name": "a", "definition": f"{CORE}Schedule-actor", "type": "reference"},
            r"Schedule-actor applies to Schedule, not to Slot",
        ),
        (
            {"name": "status", "type": "string"},
            r"searchParam\[0\]\.type: string differs from the type in the definition .*: token",
        ),
    ],
)
def test_a_parameter_that_cannot_be_resolved_stops_the_start(
    build: Build, statement: Make, said: dict[str, str], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot", "searchParam": [said]}))


@pytest.mark.parametrize(
    ("type", "definition", "kind"),
    [
        ("Observation", f"{CORE}Observation-code-value-quantity", "composite"),
        ("Location", f"{CORE}Location-near", "special"),
    ],
)
def test_parameters_beyond_the_core_stop_the_start(
    build: Build, statement: Make, type: str, definition: str, kind: str
) -> None:
    said = {"name": "x", "definition": definition, "type": kind}
    with pytest.raises(StartupError, match=f"of type {kind} are not supported"):
        build(statement({"type": type, "searchParam": [said]}))


def test_an_unknown_type_stops_the_start(build: Build, statement: Make) -> None:
    with pytest.raises(StartupError, match=r"rest\[0\]\.resource\[0\]\.type: slot is not a FHIR R4 resource type"):
        build(statement({"type": "slot"}))


def test_rests_of_mode_client_are_not_read(build: Build, statement: Make) -> None:
    both = statement({"type": "Slot"})
    both["rest"].insert(0, {"mode": "client", "resource": [{"type": "Patient", "interaction": [{"code": "patch"}]}]})
    assert set(build(both).types) == {"Slot"}


def test_a_statement_without_server_stops_the_start(build: Build, statement: Make) -> None:
    client = statement()
    client["rest"][0]["mode"] = "client"
    with pytest.raises(StartupError, match=r"x\.json: rest: no entry has mode server"):
        build(client)
