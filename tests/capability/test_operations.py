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


def test_metadata_tells_them_where_they_are_declared(build: Build, statement: Make, package: Make) -> None:
    said = [COUNT | {"documentation": "Counts."}]
    rest = build(statement({"type": "Slot", "operation": [VALIDATE]}, operation=said), package(OWN)).statement["rest"]
    assert rest[0]["operation"] == [{"name": "count", "definition": "http://o/count", "documentation": "Counts."}]
    assert rest[0]["resource"][0]["operation"] == [VALIDATE]


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"definition": "http://o/other"}, r"operation\[0\]\.definition: .* http://o/other is not defined"),
        ({"name": "number"}, r"operation\[0\]\.name: number, but its definition http://o/count says count"),
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
        ({"instance": False}, "operation of the system level only; declare it in rest.operation"),
        ({"resource": ["Schedule"]}, "is for Schedule, not for Slot"),
        ({"kind": "query"}, "is a query"),
        ({"parameter": [{"name": "of", "use": "in", "min": 0, "max": "1"}]}, r"0\.json: .*neither type nor part"),
        ({"parameter": [{"use": "in"}]}, r"0\.json: the OperationDefinition cannot be read"),
    ],
)
def test_a_definition_that_does_not_fit_stops_the_start(
    build: Build, statement: Make, package: Make, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot", "operation": [COUNT]}), package(OWN | changed))


def test_an_operation_of_types_is_not_declared_on_the_system(build: Build, statement: Make) -> None:
    with pytest.raises(StartupError, match=r"rest\[0\]\.operation\[0\]: \$validate is no operation of the system"):
        build(statement({"type": "Slot"}, operation=[VALIDATE]))


def test_two_definitions_of_one_name_stop_the_start(build: Build, statement: Make, package: Make) -> None:
    other = OWN | {"url": "http://o/other"}
    said = [COUNT, {"name": "count", "definition": "http://o/other"}]
    with pytest.raises(StartupError, match=r"\$count is http://o/other here, but http://o/count at"):
        build(statement({"type": "Slot", "operation": said}), package(OWN, other))
