from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhirstore.search.values import date_interval, number_key

PARIS = ZoneInfo("Europe/Paris")
numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.integers(-(10**40), 10**40).map(Decimal),
    st.builds(lambda n, e: Decimal(n).scaleb(e), st.integers(-999, 999), st.integers(-120, 120)),
)


def micros(text: str) -> int:
    since = datetime.fromisoformat(text).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


@given(numbers, numbers)
@example(Decimal("-1E+5"), Decimal("-1E-5"))
@example(Decimal("98.6"), Decimal("98.60001"))
@example(Decimal("-98"), Decimal("-98.6"))
@example(Decimal("9"), Decimal("10"))
@example(Decimal("0.09"), Decimal("0.1"))
@example(Decimal("1e-10"), Decimal("1e-9"))
@example(Decimal("0"), Decimal("-0.0"))
def test_number_keys_sort_as_the_numbers_do(a: Decimal, b: Decimal) -> None:
    assert (number_key(a) < number_key(b)) == (a < b)
    assert (number_key(a) == number_key(b)) == (a == b)


@pytest.mark.parametrize("text", ["1.0", "1.00", "1e0", "0.1e1", "10e-1"])
def test_equal_numbers_have_one_key_however_they_are_written(text: str) -> None:
    assert number_key(Decimal(text)) == number_key(Decimal(1))


def test_what_is_not_finite_has_no_key() -> None:
    with pytest.raises(ValueError, match="NaN"):
        number_key(Decimal("NaN"))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-12", "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-06-12T16:20Z", "2024-06-12T16:20:00Z", "2024-06-12T16:21:00Z"),
        ("2024-06-12T16:20:05+02:00", "2024-06-12T14:20:05Z", "2024-06-12T14:20:06Z"),
        ("2024-06-12T16:20:05-05:30", "2024-06-12T21:50:05Z", "2024-06-12T21:50:06Z"),
        ("2024-06-12T16:20:00.000 02:00", "2024-06-12T14:20:00Z", "2024-06-12T14:20:00.001Z"),
        ("2024-06-12T16:20:00.5Z", "2024-06-12T16:20:00.5Z", "2024-06-12T16:20:00.6Z"),
        ("2024-06-12T16:20:00.123456Z", "2024-06-12T16:20:00.123456Z", "2024-06-12T16:20:00.123457Z"),
        ("2024-06-12T16:20:00.1234569Z", "2024-06-12T16:20:00.123456Z", "2024-06-12T16:20:00.123457Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"),
        ("2024-07-01T10:00:00", "2024-07-01T08:00:00Z", "2024-07-01T08:00:01Z"),  # Paris in summer
        ("2024-01-01T10:00:00", "2024-01-01T09:00:00Z", "2024-01-01T09:00:01Z"),  # and in winter
        ("0001-01-01", "0001-01-01T00:00:00+00:00", "0001-01-02T00:00:00+00:00"),
    ],
)
def test_a_date_is_the_interval_its_precision_leaves_open(text: str, low: str, high: str) -> None:
    assert date_interval(text, PARIS) == (micros(low), micros(high))


@pytest.mark.parametrize("text", ["9999", "9999-12", "9999-12-31"])
def test_the_last_year_has_an_end(text: str) -> None:
    assert date_interval(text, UTC)[1] == micros("9999-12-31T23:59:59.999999+00:00") + 1


def test_years_at_the_limits_take_any_offset() -> None:
    low, _ = date_interval("0001-01-01T00:00:00+14:00", UTC)
    assert low == micros("0001-01-01T00:00:00+00:00") - 14 * 3600 * 1_000_000
    assert date_interval("0001-01-01T00:00:00", PARIS)[0] < micros("0001-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24",
        "2024-13",
        "2024-02-30",
        "2024-6-1",
        "20240612",
        "2024-W01-1",
        "2024-06-12T16",
        "2024-06-12T24:00:00Z",
        "2024-06-12T16:60Z",
        "2024-06-12T16:20:61Z",
        "2024-06-12T16:20:00+15:00",
        "2024-06-12T16:20:00+0200",
        "2024-06-12 16:20:00Z",
        "2024-06-12T16:20:00z",
        "0000",
        "२०२४",
        "2024-06-12T16:20:00Z trailing",
        "2024\n",
    ],
)
def test_what_is_not_a_date_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        date_interval(text, PARIS)
