"""A declared chain or include implies the parameters that it walks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError

Build = Callable[..., Registry]
Make = Callable[..., Any]


def indexed(registry: Registry) -> dict[str, set[str]]:
    return {type: set(params) for type, params in registry.indexed_types.items()}


@pytest.mark.parametrize(
    ("start", "name", "expected"),
    [
        (
            "Slot",
            "schedule.actor:Practitioner.identifier",
            {"Slot": {"schedule"}, "Schedule": {"actor"}, "Practitioner": {"identifier"}},
        ),
        (
            "Schedule",
            "actor:Location.organization.identifier",
            {"Schedule": {"actor"}, "Location": {"organization"}, "Organization": {"identifier"}},
        ),
        ("Schedule", "_has:Slot:schedule:start", {"Schedule": set(), "Slot": {"schedule", "start"}}),
        ("Schedule", "_has:Slot:schedule:_id", {"Schedule": set(), "Slot": {"schedule"}}),
    ],
)
def test_a_chain_indexes_every_step(
    build: Build, statement: Make, start: str, name: str, expected: dict[str, set[str]]
) -> None:
    registry = build(statement({"type": start, "searchParam": [{"name": name, "type": "token"}]}))
    assert indexed(registry) == expected


def test_a_chain_without_type_indexes_all_targets_that_have_the_next_parameter(build: Build, statement: Make) -> None:
    said = {"name": "general-practitioner.identifier", "type": "token"}
    registry = build(statement({"type": "Patient", "searchParam": [said]}))
    assert indexed(registry) == {
        "Patient": {"general-practitioner"},
        "Practitioner": {"identifier"},
        "PractitionerRole": {"identifier"},
        "Organization": {"identifier"},
    }


def test_implied_parameters_are_not_declared(build: Build, statement: Make) -> None:
    registry = build(statement({"type": "Slot", "searchInclude": ["Slot:schedule", "Schedule:actor:Location"]}))
    assert indexed(registry) == {"Slot": {"schedule"}, "Schedule": {"actor"}}
    assert not registry.types["Slot"].params["schedule"].declared
    assert not registry.indexed_types["Schedule"]["actor"].declared
    names = [p["name"] for p in registry.statement["rest"][0]["resource"][0]["searchParam"]]
    assert names == ["_id", "_lastUpdated"]


def test_a_declared_parameter_stays_declared_when_an_include_walks_it(build: Build, statement: Make) -> None:
    slot = {
        "type": "Slot",
        "searchInclude": ["Slot:schedule"],
        "searchParam": [{"name": "schedule", "type": "reference"}],
    }
    assert build(statement(slot)).types["Slot"].params["schedule"].declared


def test_reverse_includes_index_their_source(build: Build, statement: Make) -> None:
    registry = build(statement({"type": "Schedule", "searchRevInclude": ["Slot:schedule"]}))
    assert indexed(registry) == {"Schedule": set(), "Slot": {"schedule"}}
    assert registry.types["Schedule"].rev_includes == {"Slot:schedule"}


@pytest.mark.parametrize("wildcard", ["*", "Slot:*"])
def test_wildcards_index_nothing_more(build: Build, statement: Make, wildcard: str) -> None:
    registry = build(statement({"type": "Slot", "searchInclude": [wildcard]}))
    assert indexed(registry) == {"Slot": set()}
    assert registry.types["Slot"].includes == {wildcard}


def test_the_type_of_a_chain_in_the_metadata_is_that_of_its_end(build: Build, statement: Make) -> None:
    said = {"name": "schedule.actor:Practitioner.identifier", "type": "special", "documentation": "ids"}
    registry = build(statement({"type": "Slot", "searchParam": [said]}))
    assert registry.statement["rest"][0]["resource"][0]["searchParam"][-1] == said | {"type": "token"}


@pytest.mark.parametrize(
    ("include", "message"),
    [
        (
            "Slot:nope",
            r"searchInclude\[0\]: .* defines a search parameter nope for Slot \(defined: .*schedule.*--plugin",
        ),
        ("Slot:status", r"Slot:status has type token; a chain requires a reference"),
        ("Slot:schedule:Patient", r"Slot:schedule cannot refer to Patient\. Allowed: Schedule"),
        ("Slot", r"searchInclude\[0\]: Slot: the format is Type:parameter"),
        ("Location:Organization", r"a search parameter Organization for Location"),
    ],
)
def test_an_include_that_leads_nowhere_stops_the_start(
    build: Build, statement: Make, include: str, message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot", "searchInclude": [include]}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("schedule.nope", r"no target type of Slot:schedule has a search parameter nope"),
        ("schedule:Patient.name", r"Slot:schedule cannot refer to Patient\. Allowed: Schedule"),
        ("status.name", r"Slot:status has type token"),
        ("_has:Slot:schedule", r"the format is _has:Type:reference-parameter:parameter"),
    ],
)
def test_a_chain_that_leads_nowhere_stops_the_start(build: Build, statement: Make, name: str, message: str) -> None:
    with pytest.raises(StartupError, match=rf"searchParam\[0\]: .*{message}"):
        build(statement({"type": "Slot", "searchParam": [{"name": name, "type": "token"}]}))
