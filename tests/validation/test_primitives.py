"""https://hl7.org/fhir/R4/datatypes.html#primitive: what each primitive type accepts and refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhirstore.validation.primitives import MAX_STRING, PRIMITIVES, code_in
from fhirstore.validation.text import describe
from fhirstore.validation.value_checks import StructureScope

CONTAINER = StructureScope({"resourceType": "Basic"}, in_transaction=False)

ACCEPTED: dict[str, list[Any]] = {
    "boolean": [True, False],
    "integer": [0, 1, -1, 2**31 - 1, -(2**31)],
    "unsignedInt": [0, 2**31 - 1],
    "positiveInt": [1, 2**31 - 1],
    "decimal": [0, -5, 10**30, Decimal("1.00"), Decimal("-0.5E-10"), 1.5],
    "string": ["a", " ", "a\tb\r\nc", "é😀\u00a0\u200b", "x" * MAX_STRING],
    "markdown": ["# a\n\n- b"],
    "code": ["a", "a b", "text/plain; charset=utf-8", "fr-FR", "é", "<="],
    "id": ["1", "a.B-9", "x" * 64],
    "uri": ["http://example.org/é", "urn:oid:1.2.3", "a", "#x", "http://example.org/\u200b"],
    "url": ["https://example.org/?a=b|c"],
    "canonical": ["http://example.org/v|1.0#x"],
    "oid": ["urn:oid:1.2.250.1.71.4.2.1", "urn:oid:2.0"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
    "base64Binary": ["AA==", "AAA=", "AAAA", "AAAA BBBB\nCC==", "+/+/"],
    "date": ["2024", "2024-12", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "2023-04-30"],
    "dateTime": [
        "2024",
        "2024-01",
        "2024-01-31",
        "2024-01-31T00:00:00Z",
        "2024-01-31T23:59:59.123456789+14:00",
        "2016-12-31T23:59:60Z",
    ],
    "instant": ["2024-02-29T16:20:00+02:00", "2024-02-29T16:20:00.000Z", "2024-02-29T16:20:00-13:59"],
    "time": ["00:00:00", "23:59:59.999", "12:00:60"],
    "xhtml": ["<div>a</div>", ' <div xmlns="http://www.w3.org/1999/xhtml"/>\n', "<div\nclass='a'><p/></div >"],
}

REFUSED: dict[str, list[Any]] = {
    "boolean": ["true", "false", 0, 1, None, "", [], {}],
    "integer": ["1", True, 2**31, -(2**31) - 1, Decimal("1.0"), Decimal("1.5"), 1.0, None, 10**5000],
    "unsignedInt": [-1, 2**31, "0", False],
    "positiveInt": [0, -1, 2**31, "1", True],
    "decimal": ["1.0", True, None, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), float("nan"), float("inf")],
    "string": ["", "a\x00b", "\x0b", "\x1f", "\ud800", 1, True, None, {}, [], "x" * (MAX_STRING + 1)],
    "markdown": ["", "\x00", 1],
    "code": ["", " a", "a ", "a  b", "a\tb", "a\n", "\ud800", 1],
    "id": ["", "a_b", "a/b", "x" * 65, "é", "a\n", 1],
    "uri": ["", "a b", " a", "a\n", "a\x00", 1],
    "url": ["http://a b"],
    "canonical": ["http://a |1"],
    "oid": ["1.2.3", "urn:oid:3.1", "urn:oid:1.02", "urn:oid:1", "urn:oid:1.2.", "URN:OID:1.2"],
    "uuid": ["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "urn:uuid:1"],
    "base64Binary": ["", "A", "AA", "AAA", "A===", "AA=A", "AAAA=", "====A", "AA-_", "é===", " "],
    "date": [
        "2023-02-29",
        "1900-02-29",
        "2024-02-30",
        "2024-04-31",
        "2024-13",
        "2024-00-01",
        "2024-01-00",
        "0000-01-01",
        "0000-02-29",
        "24-01-01",
        "2024-1-1",
        "2024-01-01T00:00:00Z",
        "2024-01-01\n",
        "٢٠٢٤",
        20240101,
    ],
    "dateTime": [
        "2024-01-31T10:00Z",
        "2024-01-31T10:00:00",
        "2024-01-31T24:00:00Z",
        "2024-01-31T10:60:00Z",
        "2024-01-31T10:00:61Z",
        "2024-01-31T10:00:00+14:01",
        "2024-01-31T10:00:00+0200",
        "2024-01-31 10:00:00Z",
        "2024-01-31T10:00:00z",
        "2023-02-29T10:00:00Z",
        "2024-01-31T10:00:00.Z",
    ],
    "instant": ["2024", "2024-01-31", "2024-01-31T10:00:00", "2024-06-31T10:00:00Z", "2024-01-31T10:00:00 02:00"],
    "time": ["24:00:00", "10:00", "10:00:00Z", "10:60:00", "1:00:00"],
    "xhtml": ["", "text", "<p>a</p>", "<div>a", "<divan>a</divan>", "<div>a</div>b", "<div>\x00</div>", 1],
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_value_in_the_format_of_the_type_is_accepted(name: str) -> None:
    for value in ACCEPTED[name]:
        assert PRIMITIVES[name](value, CONTAINER) is None, describe(value)


@pytest.mark.parametrize("name", REFUSED)
def test_other_value_is_refused_with_one_error_that_can_be_sent(name: str) -> None:
    for value in REFUSED[name]:
        found = PRIMITIVES[name](value, CONTAINER)
        assert found is not None, describe(value)
        assert len(found.errors) == 1
        assert found.errors[0].text.encode("utf-8")


def test_every_primitive_type_has_examples() -> None:
    assert set(ACCEPTED) == set(REFUSED) == set(PRIMITIVES)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("date", "2023-02-29", "2023-02-29 is not a day of the calendar"),
        ("instant", "2024-01-31T10:00:00", "the time zone is missing"),
        ("dateTime", "2024-01-31T10:00:00", "the time zone is missing"),
        ("string", "a\x00b", "U+0000 at index 1"),
        ("positiveInt", 0, "from 1 to 2147483647"),
        ("integer", Decimal("1.0"), "without decimal point"),
        ("uuid", "urn:uuid:1", "lower case"),
        ("url", "a b", "white space is not allowed"),
    ],
)
def test_message_says_what_would_be_right(name: str, value: Any, words: str) -> None:
    found = PRIMITIVES[name](value, CONTAINER)

    assert found is not None
    assert words in found.errors[0].text


def test_message_about_a_long_string_names_the_limit() -> None:
    found = PRIMITIVES["string"]("x" * (MAX_STRING + 1), CONTAINER)

    assert found is not None
    assert found.errors[0].code == "too-long"
    assert "at most 1048576" in found.errors[0].text


def test_code_of_a_required_value_set_must_be_one_of_its_codes() -> None:
    check = code_in(frozenset({"free", "busy"}), "http://example.org/vs")

    assert check("free", CONTAINER) is None
    for value, code in (("FREE", "code-invalid"), (" free", "value"), (1, "structure"), ("", "value")):
        found = check(value, CONTAINER)
        assert found is not None
        assert [p.code for p in found.errors] == [code]
