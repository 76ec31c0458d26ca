"""One table routes HTTP requests and Bundle entries."""

from __future__ import annotations

import pytest

from fhirstore.interactions.base import Interaction
from fhirstore.interactions.bundles import match
from fhirstore.interactions.table import ROUTER, ROUTES


@pytest.mark.parametrize(
    ("method", "path", "expected", "values"),
    [
        ("GET", "metadata", "Capabilities", {}),
        ("POST", "", "Bundle", {}),
        ("GET", "Patient/1", "Read", {"type": "Patient", "id": "1"}),
        ("GET", "Patient/1/_history/2", "VRead", {"type": "Patient", "id": "1", "version": "2"}),
        ("GET", "Patient/1/_history", "InstanceHistory", {"type": "Patient", "id": "1"}),
        ("GET", "Patient/_history", "TypeHistory", {"type": "Patient"}),
        ("GET", "_history", "History", {}),
        ("GET", "Patient", "Search", {"type": "Patient"}),
        ("POST", "Patient/_search", "SearchByForm", {"type": "Patient"}),
        ("POST", "Patient", "Create", {"type": "Patient"}),
        ("PUT", "Patient/1", "Update", {"type": "Patient", "id": "1"}),
        ("PUT", "Patient", "ConditionalUpdate", {"type": "Patient"}),
        ("DELETE", "Patient/1", "Delete", {"type": "Patient", "id": "1"}),
        ("DELETE", "Patient", "ConditionalDelete", {"type": "Patient"}),
        ("GET", "Patient/1/$everything", "Operation", {"type": "Patient", "id": "1", "operation": "everything"}),
        ("POST", "$closure", "Operation", {"operation": "closure"}),
    ],
)
def test_a_method_and_a_path_name_an_interaction(method: str, path: str, expected: str, values: dict[str, str]) -> None:
    matched = match(ROUTER, method, path.split("/") if path else ())
    assert matched is not None
    kind, found = matched
    assert isinstance(kind, type)
    assert (kind.__name__, dict(found)) == (expected, values)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PUT", "Patient/_search"), ("POST", "_search"), ("DELETE", "Patient/$x")]
)
def test_other_paths_name_none(method: str, path: str) -> None:
    assert match(ROUTER, method, path.split("/") if path else ()) is None


def test_every_route_has_a_class_of_interactions_with_a_code() -> None:
    for route in ROUTES:
        assert isinstance(route.interaction, type)
        assert issubclass(route.interaction, Interaction)
        assert route.interaction.code
