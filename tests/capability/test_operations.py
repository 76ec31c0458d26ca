"""Operations that statements declare are read from their definitions, or stop the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError

Build = Callable[..., Registry]
Make = Callable[..., Any]

R4 = "http://hl7.org/fhir/OperationDefinition/"
VALIDATE = {"name": "validate", "definition": R4 + "Resource-validate"}
OWN = {
    "resourceType": "OperationDefinition",
    "url": "http://o/count",
    "name": "Count",
    "status": "active",
    "kind": "operation",
    "code": "count",
    "resource": ["Slot"],
    "system": True,
    "type": False,
    "instance": True,
    "affectsState": False,
    "parameter": [
        {"name": "of", "use": "in", "min": 1, "max": "*", "part": [{"name": "x", "use": "in", "min": 0, "max": "1",
                                                                     "type": "code"}]},
        {"name": "total", "use": "out", "min": 1, "max": "1", "type": "integer"},
    ],
}  # fmt: skip
COUNT = {"name": "$count", "definition": "http://o/count"}


def test_parameters_levels_and_names_come_from_the_definition(build: Build, statement: Make) -> None:
    found = build(statement({"type": "Slot", "operation": [VALIDATE]})).types["Slot"].operations["validate"]
    assert (found.system, found.type, found.instance) == (False, True, True)
    assert list(found.inputs) == ["resource", "mode", "profile"]
    assert found.inputs["mode"].codes == {"create", "update", "delete", "profile"}
    assert (found.inputs["resource"].types, found.inputs["resource"].max) == (("Resource",), 1)
    assert found.outputs["return"].types == ("OperationOutcome",)


def test_a_package_may_define_one(build: Build, statement: Make, package: Make) -> None:
    registry = build(statement({"type": "Slot", "operation": [COUNT]}, operation=[COUNT]), package(OWN))
    found = registry.operations["count"]
    assert found.affects_state is False
    assert (found.inputs["of"].min, found.inputs["of"].max) == (1, None)
    assert found.inputs["of"].parts["x"].types == ("code",)
    assert registry.types["Slot"].operations == {"count": registry.types["Slot"].operations["count"]}


def test_metadata_lists_them_where_they_are_declared(build: Build, statement: Make, package: Make) -> None:
    said = [COUNT | {"documentation": "Counts."}]
    rest = build(statement({"type": "Slot", "operation": [VALIDATE]}, operation=said), package(OWN)).statement["rest"]
    assert rest[0]["operation"] == [{"name": "count", "definition": "http://o/count", "documentation": "Counts."}]
    assert rest[0]["resource"][0]["operation"] == [VALIDATE]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            {"definition": "http://o/other"},
            r"operation\[0\]\.definition: neither R4 nor a loaded package defines the OperationDefinition http://o/other",
        ),
        (
            {"name": "number"},
            r"operation\[0\]\.name: number differs from the code in the definition http://o/count: count",
        ),
    ],
)
def test_a_declaration_that_is_wrong_stops_the_start(
    build: Build, statement: Make, package: Make, member: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot", "operation": [COUNT | member]}), package(OWN))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"instance": False}, "only a system-level operation; declare it in rest.operation"),
        ({"resource": ["Schedule"]}, "applies to Schedule, not to Slot"),
        ({"kind": "query"}, "is a query"),
        ({"parameter": [{"name": "of", "use": "in", "min": 0, "max": "1"}]}, r"0\.json: .*neither type nor part"),
        ({"parameter": [{"use": "in"}]}, r"0\.json: the OperationDefinition is malformed"),
    ],
)
def test_a_definition_that_does_not_fit_stops_the_start(
    build: Build, statement: Make, package: Make, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot", "operation": [COUNT]}), package(OWN | changed))


def test_an_operation_of_types_is_not_declared_on_the_system(build: Build, statement: Make) -> None:
    with pytest.raises(StartupError, match=r"rest\[0\]\.operation\[0\]: \$validate is not a system-level operation"):
        build(statement({"type": "Slot"}, operation=[VALIDATE]))


def test_two_definitions_of_one_name_stop_the_start(build: Build, statement: Make, package: Make) -> None:
    other = OWN | {"url": "http://o/other"}
    said = [COUNT, {"name": "count", "definition": "http://o/other"}]
    with pytest.raises(StartupError, match=r"\$count is http://o/other here, but http://o/count at"):
        build(statement({"type": "Slot", "operation": said}), package(OWN, other))


SEARCHED = {"type": "Slot", "interaction": [{"code": "read"}]}


def test_one_that_a_package_defines_and_a_plugin_can_do_needs_no_declaration(
    build: Build, statement: Make, package: Make
) -> None:
    registry = build(statement(SEARCHED, {"type": "Patient"}), package(OWN), able={OWN["url"]})
    assert list(registry.operations) == ["count"]
    assert list(registry.types["Slot"].operations) == ["count"]
    assert not registry.types["Patient"].operations
    rest = registry.statement["rest"][0]
    told = [{"name": "count", "definition": "http://o/count"}]
    assert (rest["operation"], rest["resource"][0]["operation"]) == (told, told)


def test_it_is_not_added_where_its_types_are_not_served(build: Build, statement: Make, package: Make) -> None:
    registry = build(statement({"type": "Patient"}), package(OWN), able={OWN["url"]})
    assert not registry.operations


def test_one_that_names_no_type_is_added_on_the_system(build: Build, statement: Make, package: Make) -> None:
    own = {key: value for key, value in OWN.items() if key != "resource"} | {"instance": False}
    registry = build(statement({"type": "Patient"}), package(own), able={OWN["url"]})
    assert list(registry.operations) == ["count"]
    assert not registry.types["Patient"].operations


def test_a_definition_that_no_plugin_can_do_adds_nothing(build: Build, statement: Make, package: Make) -> None:
    registry = build(statement(SEARCHED), package(OWN))
    assert not registry.operations
    assert not registry.types["Slot"].operations


def test_an_operation_of_r4_is_not_added_by_a_function_for_it(build: Build, statement: Make, package: Make) -> None:
    own = OWN | {"url": R4 + "Resource-validate", "code": "validate"}
    registry = build(statement(SEARCHED), package(own), able={own["url"]})
    assert not registry.types["Slot"].operations


def test_a_name_that_the_statement_gives_to_another_one_stays_with_that(
    build: Build, statement: Make, package: Make
) -> None:
    other = OWN | {"url": "http://o/other"}
    said = [{"name": "$count", "definition": "http://o/other"}]
    registry = build(statement(SEARCHED | {"operation": said}), package(OWN, other), able={OWN["url"]})
    assert registry.types["Slot"].operations["count"].url == "http://o/other"
    assert registry.operations["count"].url == "http://o/count"


def test_a_declaration_of_what_is_added_anyway_keeps_its_words(build: Build, statement: Make, package: Make) -> None:
    said = [COUNT | {"documentation": "Counts."}]
    registry = build(statement(SEARCHED, operation=said), package(OWN), able={OWN["url"]})
    assert registry.operations["count"].documentation == "Counts."
