"""What the core cannot do, and what R4 does not know, is refused at start with its JSON path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError

Build = Callable[..., Registry]
Make = Callable[..., Any]
SLOT = r"x\.json: rest\[0\]\.resource\[0\]"


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            {"interaction": [{"code": "patch"}]},
            rf"{SLOT}\.interaction\[0\]\.code: .* patch is not supported\. .*: read, vread",
        ),
        ({"operation": [{"name": "x"}]}, rf"{SLOT}\.operation\[0\]\.definition: Missing"),
        ({"serchParam": []}, rf"{SLOT}\.serchParam: R4 does not define this element .*searchParam"),
        (
            {"searchParam": [{"name": "a", "typ": "date"}]},
            rf"{SLOT}\.searchParam\[0\]\.typ: R4 does not define this element",
        ),
        ({"searchParam": [{"name": "a"}]}, rf"{SLOT}\.searchParam\[0\]\.type: Missing"),
        ({"searchInclude": "Slot:schedule"}, rf"{SLOT}\.searchInclude: Not a valid list"),
        ({"searchInclude": ["a", 1]}, rf"{SLOT}\.searchInclude\[1\]: Not a valid string"),
        ({"updateCreate": "true"}, rf"{SLOT}\.updateCreate: Not a valid boolean"),
        ({"conditionalRead": "yes"}, rf"{SLOT}\.conditionalRead: Must be one of: not-supported, modified-since"),
        ({"conditionalDelete": "all"}, rf"{SLOT}\.conditionalDelete: Must be one of: not-supported, single, multiple"),
        ({"versioning": "yes"}, rf"{SLOT}\.versioning: Must be one of: no-version, versioned, versioned-update"),
        (
            {"referencePolicy": ["enforced"]},
            rf"{SLOT}\.referencePolicy\[0\]: .* enforced is not supported\. Supported: literal, logical",
        ),
        (
            {"readHistory": False, "interaction": [{"code": "vread"}]},
            rf"{SLOT}\.readHistory: false contradicts the interaction vread",
        ),
    ],
)
def test_a_resource_beyond_the_core_stops_the_start(
    build: Build, statement: Make, member: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot", **member}))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ({"resourceType": "Patient"}, r"x\.json: resourceType: Must be equal to CapabilityStatement"),
        ({"fhirVersion": "5.0.0"}, r"x\.json: fhirVersion: FHIR 5\.0\.0 is not supported\. Supported: 4\.0\.1"),
        ({"format": ["xml"]}, r"x\.json: format\[0\]: the format xml is not supported"),
        ({"patchFormat": ["application/json-patch+json"]}, r"x\.json: patchFormat: PATCH is not supported"),
        ({"messaging": [{"documentation": "x"}]}, r"x\.json: messaging: Messaging is not supported"),
        ({"kind": "server"}, r"x\.json: kind: Must be one of"),
        ({"rests": []}, r"x\.json: rests: R4 does not define this element"),
        ({"rest": {}}, r"x\.json: rest: Not a valid list"),
    ],
)
def test_a_statement_beyond_the_core_stops_the_start(
    build: Build, statement: Make, member: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot"}) | member)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (
            {"interaction": [{"code": "search-system"}]},
            r"rest\[0\]\.interaction\[0\]\.code: the system interaction search-system is not",
        ),
        (
            {"compartment": ["http://hl7.org/fhir/CompartmentDefinition/patient"]},
            r"rest\[0\]\.compartment: .* is not supported",
        ),
    ],
)
def test_a_rest_beyond_the_core_stops_the_start(
    build: Build, statement: Make, member: dict[str, Any], message: str
) -> None:
    with pytest.raises(StartupError, match=message):
        build(statement({"type": "Slot"}, **member))


def test_all_problems_of_a_statement_are_reported_at_once(build: Build, statement: Make) -> None:
    with pytest.raises(StartupError) as caught:
        build(statement({"type": "Slot", "interaction": [{"code": "patch"}]}) | {"format": ["xml"]})
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "format[0]",
        "rest[0].resource[0].interaction[0].code",
    ]


def test_extensions_and_the_companions_of_primitives_are_allowed(build: Build, statement: Make) -> None:
    said = {"type": "Slot", "extension": [{"url": "http://e", "valueCode": "SHALL"}], "_type": {"id": "a"}}
    assert "Slot" in build(statement(said)).types
