"""Resources are stored in parts and put together again without being parsed."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.formats.compose import compose, compose_parts, http_date, instant, split
from fhirstore.formats.json import dumps, parse
from fhirstore.model.stored import Stored

NOON = 1_780_000_000_123_456
"""Microseconds since 1970: 2026-05-28T20:26:40.123456Z."""
MOMENTS = st.integers(0, 253_402_300_799_999_999)  # to the end of the year 9999


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
