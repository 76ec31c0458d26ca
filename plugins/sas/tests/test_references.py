"""References are read in linear time, whatever a client writes."""

from __future__ import annotations

import pytest

from fhirstore_sas.rules import local


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("Practitioner/1", "Practitioner/1"),
        ("Practitioner/1/_history/2", "Practitioner/1"),
        ("https://editor.example/fhir/Practitioner/1/_history/2", "Practitioner/1"),
        ("https://editor.example/Practitioner?identifier=1", "https://editor.example/Practitioner?identifier=1"),
    ],
)
def test_a_reference_loses_its_base_and_its_version(reference: str, expected: str) -> None:
    assert local(reference) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "http://x" + "/Aa/b/_history/" * 70_000 + "\n",
        "http://x" + "/Aa?" * 250_000,
        "http://x" + "/_history/1" * 90_000,
    ],
)
def test_a_long_reference_is_read_in_linear_time(reference: str) -> None:
    """A pattern that reads the rest of the text at each slash takes minutes."""
    assert local(reference) == reference
