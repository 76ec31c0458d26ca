"""Effective statement = the deployment's + what it instantiates and imports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError

Build = Callable[..., Registry]
Make = Callable[..., Any]


def test_instantiated_and_imported_statements_are_merged_however_deep(
    build: Build, statement: Make, package: Make
) -> None:
    found = package(
        statement({"type": "Slot", "interaction": [{"code": "read"}]})
        | {"url": "http://s/1", "imports": ["http://s/2"]},
        statement({"type": "Slot", "interaction": [{"code": "create"}]}) | {"url": "http://s/2"},
    )
    mine = statement({"type": "Slot", "interaction": [{"code": "delete"}]}) | {"instantiates": ["http://s/1"]}
    registry = build(mine, found)
    assert registry.types["Slot"].interactions == {"read", "create", "delete"}
    assert registry.statement["instantiates"] == ["http://s/1"]
    assert "imports" not in registry.statement


def test_statements_that_import_each_other_are_read_once(build: Build, statement: Make, package: Make) -> None:
    found = package(
        statement({"type": "Slot"}) | {"url": "http://s/1", "imports": ["http://s/2"]},
        statement({"type": "Schedule"}) | {"url": "http://s/2", "imports": ["http://s/1", "http://s/2"]},
    )
    assert set(build(statement() | {"imports": ["http://s/1"]}, found).types) == {"Slot", "Schedule"}


def test_the_deployment_decides_about_flags_and_what_it_leaves_open_the_first_import_does(
    build: Build, statement: Make, package: Make
) -> None:
    found = package(
        statement({"type": "Slot", "updateCreate": True, "conditionalDelete": "multiple"}) | {"url": "http://s/1"},
        statement({"type": "Slot", "conditionalDelete": "single"}) | {"url": "http://s/2"},
    )
    mine = statement({"type": "Slot", "updateCreate": False}) | {"imports": ["http://s/1", "http://s/2"]}
    slot = build(mine, found).types["Slot"]
    assert (slot.update_create, slot.conditional_delete) == (False, "multiple")


def test_what_an_import_imports_comes_before_the_next_import(build: Build, statement: Make, package: Make) -> None:
    found = package(
        statement({"type": "Schedule"}) | {"url": "http://s/1", "imports": ["http://s/deep"]},
        statement({"type": "Slot", "conditionalDelete": "multiple"}) | {"url": "http://s/deep"},
        statement({"type": "Slot", "conditionalDelete": "single"}) | {"url": "http://s/2"},
    )
    registry = build(statement({"type": "Slot"}) | {"imports": ["http://s/1", "http://s/2"]}, found)
    assert registry.types["Slot"].conditional_delete == "multiple"


def test_statements_that_come_with_fhirstore_are_imported_by_name(build: Build, statement: Make) -> None:
    assert len(build(statement() | {"imports": ["r4-full"]}).types) == 146


def test_an_import_that_is_unavailable_stops_the_start(build: Build, statement: Make) -> None:
    with pytest.raises(
        StartupError, match=r"x\.json: imports\[0\]: no loaded package defines http://s/none.* --plugin"
    ):
        build(statement() | {"imports": ["http://s/none"]})


def test_a_problem_in_an_import_names_its_own_file(build: Build, statement: Make, package: Make) -> None:
    found = package(statement({"type": "Slot", "interaction": [{"code": "patch"}]}) | {"url": "http://s/1"})
    with pytest.raises(
        StartupError, match=r"0\.json: rest\[0\]\.resource\[0\]\.interaction\[0\]\.code: the type interaction patch"
    ):
        build(statement() | {"imports": ["http://s/1"]}, found)
