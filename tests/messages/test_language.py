"""Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4"""

from __future__ import annotations

import pytest

from fhirstore.messages.language import preferred


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("fr", "fr"),
        ("FR-ca", "fr"),
        ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("en;q=0.5, fr;q=0.9", "fr"),
        ("en;q=0.5,fr;q=0.5", "en"),
        ("fr;q=0.5,en;q=0.5", "fr"),
        ("de,fr;q=0.1", "fr"),
        ("de", "en"),
        ("fr;q=0", "en"),
        ("*", "en"),
        ("en;q=0,*", "fr"),
        ("fr;q=0.2,*;q=0.8", "en"),
        ("*;q=0.3,fr;q=0.4", "fr"),
        ("de,*;q=0.5", "en"),
        ("fr ; q = 0.7 , en", "en"),
        ("fr;q=0.001", "fr"),
        ("en-GB;q=0.2,fr;q=0.3,en;q=0.4", "en"),
        ("", "en"),
        (",,;q=1,fr;q=2,äöü", "en"),
        ("fr;level=1,en;q=0.1", "en"),
        ("," * 10_000 + "fr", "en"),
    ],
)
def test_the_language_that_is_liked_most_is_taken(header: str, wanted: str) -> None:
    assert preferred(header, ("en", "fr")) == wanted
