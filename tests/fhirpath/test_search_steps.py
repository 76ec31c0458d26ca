from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from fhirstore.definitions.core import load
from fhirstore.fhirpath.search_expressions import compile_search_expression
from fhirstore.fhirpath.search_steps import target_type
from fhirstore.fhirpath.services import ContainedResources

TYPES = frozenset({"Patient", "Organization", "Practitioner"})
ROOT = {"resourceType": "Patient", "contained": [{"resourceType": "Organization", "id": "o"}, "broken"]}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"reference": "Patient/1"}, "Patient"),
        ({"reference": "Patient/1/_history/2"}, "Patient"),
        ({"reference": "http://example.org/fhir/Patient/1"}, "Patient"),
        ({"reference": "http://example.org/fhir/Patient/1/_history/2"}, "Patient"),
        ({"reference": "Patient?identifier=http://x/Organization/1"}, "Patient"),
        ({"reference": "#o"}, "Organization"),
        ({"reference": "#"}, "Patient"),
        ({"reference": "#missing"}, None),
        ({"reference": "#missing", "type": "Practitioner"}, "Practitioner"),
        ({"reference": "urn:uuid:1"}, None),
        ({"reference": "urn:uuid:1", "type": "Patient"}, "Patient"),
        ({"reference": "Patient/1", "type": "Organization"}, "Patient"),
        ({"reference": "Nothing/1"}, None),
        ({"reference": ""}, None),
        ({"reference": 1}, None),
        ({"type": "Organization"}, "Organization"),
        ({"type": "Nothing"}, None),
        ({"display": "x"}, None),
        ("http://example.org/Patient/1", "Patient"),
        (None, None),
    ],
)
def test_the_type_a_reference_names(reference: Any, expected: str | None) -> None:
    assert target_type(reference, ContainedResources(ROOT), TYPES) == expected


def test_contained_resources_are_found_by_id() -> None:
    root = ContainedResources(ROOT)
    assert root.find("o") == {"resourceType": "Organization", "id": "o"}
    assert root.find("") is ROOT
    assert root.find("x") is None
    assert ContainedResources({}).find("x") is None
    assert ContainedResources("no resource").find("x") is None


def calls(run: Callable[[], object]) -> int:
    """The number of calls of functions, those of the interpreter included."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def test_references_to_contained_resources_are_resolved_in_linear_time() -> None:
    path = "Appointment.participant.actor.where(resolve() is Patient)"
    extract = compile_search_expression(load(), "Appointment", path).extract

    def work(count: int) -> int:
        contained = [{"resourceType": "Patient", "id": f"p{n}"} for n in range(count)]
        participants = [{"actor": {"reference": f"#p{n}"}, "status": "accepted"} for n in range(count)]
        appointment = {"resourceType": "Appointment", "contained": contained, "participant": participants}
        assert len(extract(appointment)) == count
        return calls(lambda: extract(appointment))

    assert work(200) < 2.5 * work(100)
