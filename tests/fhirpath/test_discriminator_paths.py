"""The paths of discriminators: what is read, and the typed values that they lead to."""

from __future__ import annotations

from typing import Any

import pytest

from fhirstore.fhirpath.discriminator_paths import parse_discriminator, walk

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p"}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("$this", []),
        ("", []),
        ("code.coding", [("name", "code"), ("name", "coding")]),
        ("$this.value[x]", [("name", "value")]),
        ("value.ofType(Quantity).code", [("name", "value"), ("ofType", "Quantity"), ("name", "code")]),
        ("ofType(Quantity)", [("ofType", "Quantity")]),
        ("as(Reference).resolve()", [("ofType", "Reference"), ("resolve", "")]),
        ("subject.resolve().active", [("name", "subject"), ("resolve", ""), ("name", "active")]),
        ("extension('http://e').value", [("extension", "http://e"), ("name", "value")]),
        ('extension("http://e").value', [("extension", "http://e"), ("name", "value")]),
        ("extension(http://e).value", [("extension", "http://e"), ("name", "value")]),
    ],
)
def test_a_path_is_a_list_of_steps(text: str, steps: list[tuple[str, str]]) -> None:
    assert parse_discriminator(text) == steps


@pytest.mark.parametrize("text", ["a.where(b = 1)", "a | b", "a.", "a[0]", "a.first()", "%resource.a", "a is Quantity"])
def test_other_expressions_are_not_allowed(text: str) -> None:
    assert parse_discriminator(text) is None


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("value", {"valueString": "a"}, [("a", "String")]),
        ("given", {"given": ["a", "b"]}, [("a", ""), ("b", "")]),
        ("value.ofType(Quantity)", {"valueString": "a"}, []),
        ("extension('u')", {"extension": [{"url": "u"}, {"url": "v"}, 3]}, [({"url": "u"}, "Extension")]),
        ("resolve()", {"reference": "Patient/p"}, [(PATIENT, "Patient")]),
        ("resolve().id", {"reference": "Patient/p"}, [("p", "")]),
        ("resolve()", {"reference": "Patient/q"}, []),
        ("a.b", {"a": "text"}, []),
    ],
)
def test_steps_lead_to_values_with_the_types_that_json_shows(text: str, value: Any, found: list[Any]) -> None:
    path = parse_discriminator(text)
    assert path is not None
    assert walk(value, path, lambda reference: PATIENT if reference == {"reference": "Patient/p"} else None) == found


@pytest.mark.parametrize("text", ["extension(" * 1_000, "extension(" + " " * 3_000 + "x", "extension( '" + " " * 9_000])
def test_a_path_that_is_no_path_is_read_in_linear_time(text: str) -> None:
    """Where spaces can be read in two ways, a pattern without an end takes cubic time: minutes for the second text."""
    assert parse_discriminator(text) is None
