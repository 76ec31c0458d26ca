"""Entity tags: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.formats.headers import read_versions


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ('W/"3"', {"3"}),
        ('"3"', {"3"}),
        ("3", {"3"}),
        ("*", {"*"}),
        ('W/"1", "2" ,W/"3"', {"1", "2", "3"}),
        ("", set()),
        ('W/""', {""}),
        ('""', {""}),
        ('W/"", "2"', {"", "2"}),
    ],
)
def test_the_versions_that_a_header_names(header: str, versions: set[str]) -> None:
    assert set(read_versions(header)) == versions


@given(st.text('W/"*, 1é\\\t', max_size=12))
def test_any_header_gives_texts(header: str) -> None:
    assert all(isinstance(version, str) for version in read_versions(header))
