from __future__ import annotations

import random

import pytest

from fhirstore.definitions.versions import satisfies, version_key

ORDER = [
    "0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0",
    "1.0.1", "1.2.0", "1.10.0-ballot", "1.10.0", "2.0.0", "20240101", "STU3",
]  # fmt: skip


def test_versions_have_the_order_of_semver() -> None:
    mixed = random.Random(4).sample(ORDER, len(ORDER))
    assert sorted(mixed, key=version_key) == ORDER


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.0.0"), ("1.0.0+build.5", "1.0.0"), ("0", "0.0.0")])
def test_what_makes_no_difference_is_equal(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


@pytest.mark.parametrize("version", ["", "-", "1..2", "9" * 5000, "٣", "x"])
def test_any_text_has_a_place(version: str) -> None:
    assert version_key(version) != version_key("1.2.3")


@pytest.mark.parametrize(
    ("version", "wanted", "verdict"),
    [
        ("4.0.1", "4.0.1", True),
        ("4.0.1", "4.0.x", True),
        ("4.0.1", "4.x", True),
        ("4.0.1", "4.0.*", True),
        ("4.0.1", "latest", True),
        ("4.0.1", "current", True),
        ("4.0.1", "dev", True),
        ("4.3.0", "4.0.x", False),
        ("4.0.10", "4.0.1", False),
        ("4.0.1-ballot", "4.0.1", False),
        ("14.0.1", "4.x", False),
    ],
)
def test_a_version_satisfies_a_requirement_or_not(version: str, wanted: str, verdict: bool) -> None:
    assert satisfies(version, wanted) is verdict
