"""https://hl7.org/fhir/R4/json.html: strict parsing, exact serialization, and resources stored in parts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.errors import FhirError
from fhirstore.formats.json import _STRINGS, compose, compose_parts, dumps, http_date, instant, members, parse, split
from fhirstore.model.stored import Stored

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=5)
NOON = 1_780_000_000_123_456
"""Microseconds since 1970: 2026-05-28T20:26:40.123456Z."""
MOMENTS = st.integers(0, 253_402_300_799_999_999)  # to the end of the year 9999


def refusal(raw: bytes, max_nesting: int = 50) -> tuple[int, str]:
    """The status and the text of a refusal."""
    with pytest.raises(FhirError) as refused:
        parse(raw, max_nesting)
    text = refused.value.issues[0].diagnostics
    assert text
    return refused.value.status, str(text)


@given(OBJECTS)
def test_what_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert parse(dumps(value), 50) == value


@given(OBJECTS)
def test_the_standard_library_reads_the_same(value: dict[str, Any]) -> None:
    assert json.loads(dumps(value), parse_float=Decimal) == value


@pytest.mark.parametrize("number", ["1.50", "0.000", "-0.10", "12345678901234567890.12345", "1.0"])
def test_decimals_keep_their_digits(number: str) -> None:
    assert dumps(parse(b'{"value":%b}' % number.encode(), 5)) == b'{"value":%b}' % number.encode()


@pytest.mark.parametrize(("number", "kind"), [("1", int), ("1.0", Decimal), ("1e2", Decimal), ("9" * 30, int)])
def test_numbers_with_a_fraction_or_an_exponent_are_decimals(number: str, kind: type) -> None:
    assert type(parse(b'{"value":%b}' % number.encode(), 5)["value"]) is kind


def test_the_order_of_properties_is_kept() -> None:
    raw = b'{"b":1,"a":{"z":1,"y":2},"c":3}'
    assert dumps(parse(raw, 5)) == raw


@pytest.mark.parametrize("raw", [b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"x":[{"a":null,"b":1,"a":null}]}'])
def test_a_property_that_occurs_twice_is_refused(raw: bytes) -> None:
    status, text = refusal(raw)
    assert status == 400
    assert "'a'" in text


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" \n", b"x", b"{", b'{"a":1}}', b"[]", b"1", b"null", b'"text"', b'{"a":NaN}', b'{"a":Infinity}',
        b'{"a":01}', b'{"a":1,}', b'{"a":1e1000}', b'{"a":1e-1001}', b"{'a':1}", b'{"a":"\n"}', b'{"a":"\xff"}',
        b"\xfe\xff{}",
    ],
)  # fmt: skip
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    assert refusal(raw)[0] == 400


def test_a_syntax_error_has_its_line_and_column() -> None:
    text = refusal(b'{\n  "a": 1,\n  b\n}')[1]
    assert "line 3" in text
    assert "column 3" in text


@pytest.mark.parametrize(
    ("raw", "depth"), [(b'{"a":[[1]]}', 3), (b'{"a":{"b":[]},"c":[{}]}', 3), (b'{"a":"[[[[[[","b":[]}', 2)]
)
def test_nesting_is_limited_and_brackets_in_strings_do_not_count(raw: bytes, depth: int) -> None:
    assert parse(raw, depth)
    status, text = refusal(raw, depth - 1)
    assert status == 422
    assert "max_nesting" in text


def test_endless_nesting_is_refused_before_it_is_parsed() -> None:
    assert refusal(b'{"a":' + b"[" * 1_000_000, 50)[0] == 422


@pytest.mark.parametrize("text", [b'"' + rb"\"" * 1000, b'"' + b"x" * 1000, b'"x' + b"\\", rb'"\\"', b'"'])
def test_the_scan_for_strings_reads_a_string_once_even_without_its_end(text: bytes) -> None:
    """A scan that begins again at each quote of an open string takes quadratic time."""
    match = _STRINGS.match(text)
    assert match is not None
    assert match.end() >= len(text) - 1
    assert len(_STRINGS.findall(text)) == 1


def test_an_open_string_after_deep_nesting_is_refused() -> None:
    assert refusal(b"[" * 101 + b'"' + rb"\"" * 10_000)[0] == 422


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse(b'\xef\xbb\xbf{"a":1}', 5) == {"a": 1}


@pytest.mark.parametrize("raw", [rb'{"a":"\ud800"}', rb'{"\udfff":1}', rb'{"a":["x\ud83d y"]}'])
def test_a_lone_surrogate_is_refused(raw: bytes) -> None:
    status, text = refusal(raw)
    assert status == 400
    assert "surrogate" in text


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert parse(rb'{"a":"\ud83d\ude00"}', 5) == {"a": "\U0001f600"}


@given(OBJECTS)
def test_members_are_an_object_without_its_braces(value: dict[str, Any]) -> None:
    assert parse(b"{" + members(value) + b"}", 50) == value


# --- stored parts -------------------------------------------------------------------------------------


def composed(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource, split and composed, as version 3 of NOON."""
    meta, body = split(resource)
    return parse(compose_parts(resource["resourceType"], resource["id"], 3, NOON, meta, body), 50)


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Patient", "id": "a"},
        {"resourceType": "Patient", "id": "a", "active": True},
        {"resourceType": "Patient", "id": "a", "meta": {"tag": [{"code": "x"}]}},
        {"resourceType": "Patient", "id": "a", "meta": {"profile": ["urn:p"], "_profile": [None]}, "active": True},
        {"resourceType": "Patient", "id": "a", "text": {"div": '<div>"\\é\U0001f600</div>'}, "_active": {"id": "1"}},
    ],
)
def test_a_resource_comes_back_with_its_version_and_time(resource: dict[str, Any]) -> None:
    stamped = {"versionId": "3", "lastUpdated": "2026-05-28T20:26:40.123Z"}
    assert composed(resource) == {**resource, "meta": {**stamped, **resource.get("meta", {})}}


def test_version_and_time_of_the_sender_are_dropped_with_their_extensions() -> None:
    sent = {"versionId": "9", "_versionId": {"id": "1"}, "lastUpdated": "2001-01-01", "_lastUpdated": {}, "source": "s"}
    found = composed({"resourceType": "Patient", "id": "a", "meta": sent})
    assert found["meta"] == {"versionId": "3", "lastUpdated": "2026-05-28T20:26:40.123Z", "source": "s"}


def test_the_head_comes_first_and_the_other_properties_in_their_order() -> None:
    resource = {"b": 1, "meta": {"z": 1, "a": 2}, "id": "x", "a": 2, "resourceType": "Patient"}
    meta, body = split(resource)
    assert (meta, body) == (b'"z":1,"a":2', b'"b":1,"a":2')
    assert list(composed(resource)) == ["resourceType", "id", "meta", "b", "a"]


@pytest.mark.parametrize("meta", [None, "text", [], 5])
def test_a_meta_that_is_not_an_object_is_dropped(meta: Any) -> None:
    """It gets that far with validation off only."""
    assert split({"resourceType": "Patient", "id": "a", "meta": meta}) == (b"", b"")


def test_a_stored_version_is_composed_of_its_fields() -> None:
    stored = Stored("Patient", "a", 3, NOON, False, "PUT", b'"source":"s"', b'"active":true')
    assert compose(stored) == dumps(
        {
            "resourceType": "Patient",
            "id": "a",
            "meta": {"versionId": "3", "lastUpdated": "2026-05-28T20:26:40.123Z", "source": "s"},
            "active": True,
        }
    )


@given(MOMENTS)
def test_an_instant_is_the_time_cut_to_milliseconds(moment: int) -> None:
    text = instant(moment)
    assert len(text) == len("2026-05-28T20:26:40.123Z")
    found = datetime.fromisoformat(text)
    assert found.tzinfo == UTC
    assert round(found.timestamp() * 1000) == moment // 1000


@given(MOMENTS)
def test_an_http_date_is_the_time_cut_to_seconds(moment: int) -> None:
    text = http_date(moment)
    assert text.endswith(" GMT")
    assert parsedate_to_datetime(text).timestamp() == moment // 1_000_000
