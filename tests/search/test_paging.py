from __future__ import annotations

import pytest

from fhirstore.errors import FhirError
from fhirstore.search.paging import read_token, write_token

USED = [("name", "É"), ("_count", "5")]


def test_a_token_comes_back_as_it_was_made() -> None:
    token = write_token(b"k", "Patient", USED, ["éluard", 2**62, None, "id"], 12)
    assert read_token(b"k", "Patient", USED, token) == (["éluard", 2**62, None, "id"], 12)


def test_a_token_ignores_itself_and_the_format_of_the_answer() -> None:
    token = write_token(b"k", "Patient", [*USED, ("_format", "xml")], ["a"], None)
    assert read_token(b"k", "Patient", [*USED, ("_page", token)], token) == (["a"], None)


@pytest.mark.parametrize(
    ("secret", "type", "used"),
    [
        (b"other", "Patient", USED),
        (b"k", "Practitioner", USED),
        (b"k", "Patient", USED[:1]),
        (b"k", "Patient", [("name", "E"), ("_count", "5")]),
    ],
)
def test_a_token_of_another_search_or_server_is_refused(secret: bytes, type: str, used: list[tuple[str, str]]) -> None:
    token = write_token(b"k", "Patient", USED, ["a"], None)
    with pytest.raises(FhirError, match="does not belong") as refused:
        read_token(secret, type, used, token)
    assert refused.value.status == 400


def test_every_change_of_a_token_is_noticed() -> None:
    token = write_token(b"k", "Patient", USED, ["a", 1], 7)
    for at in range(len(token) - 1):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(FhirError):
            read_token(b"k", "Patient", USED, changed)


@pytest.mark.parametrize("token", ["", "a", "é", "....", "AAAA", "A" * 10_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(FhirError):
        read_token(b"k", "Patient", USED, token)
