"""Texts as they are compared where case and accents do not count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.formats.text import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Élise", "elise"),
        ("  Jean\t Paul ", "jean paul"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Ångström", "angstrom"),
        ("ﬁn", "fin"),
        ("D’Alembert", "d’alembert"),
        ("a\u00a0b", "a b"),
        ("", ""),
    ],
)
def test_folding_drops_case_accents_and_surplus_blanks(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(codec="ascii")))
def test_folding_of_plain_text_ignores_case(text: str) -> None:
    assert fold(text) == fold(text.upper())
