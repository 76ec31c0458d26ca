from __future__ import annotations

from typing import Any

import pytest

from fhirstore.fhirpath.search_steps import target_type
from fhirstore.fhirpath.services import contained

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
    assert target_type(reference, ROOT, TYPES) == expected


def test_contained_resources_are_found_by_id() -> None:
    assert contained("o", ROOT) == {"resourceType": "Organization", "id": "o"}
    assert contained("", ROOT) is ROOT
    assert contained("x", ROOT) is None
    assert contained("x", {}) is None
    assert contained("x", "no resource") is None
