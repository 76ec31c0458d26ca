"""Dates as intervals, and the prefixes against the wording of https://hl7.org/fhir/R4/search.html#prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.model.conditions import (
    MAX_TIME,
    MIN_TIME,
    Condition,
    Date,
    Or,
)
from fhirstore.search import values
from fhirstore.search.values import date_interval

PARIS = ZoneInfo("Europe/Paris")


def micros(text: str) -> int:
    since = datetime.fromisoformat(text).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


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


# --- prefixes

Interval = tuple[int, int]


def holds(condition: Condition, entry: Interval) -> bool:
    """`Date` as model.conditions defines it."""
    if isinstance(condition, Or):
        return any(holds(part, entry) for part in condition.parts)
    assert isinstance(condition, Date)
    low, high = entry
    return (
        (condition.low_ge is None or low >= condition.low_ge)
        and (condition.low_lt is None or low < condition.low_lt)
        and (condition.high_le is None or high <= condition.high_le)
        and (condition.high_gt is None or high > condition.high_gt)
    )


def overlaps(one: Interval, other: Interval) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def contains(outer: Interval, inner: Interval) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def above(search: Interval) -> Interval:
    return search[1], MAX_TIME + 1


def below(search: Interval) -> Interval:
    return MIN_TIME - 1, search[0]


RULES: Mapping[str, Callable[[Interval, Interval], bool]] = {
    "eq": lambda search, target: contains(search, target),
    "ne": lambda search, target: not contains(search, target),
    "gt": lambda search, target: overlaps(above(search), target),
    "lt": lambda search, target: overlaps(below(search), target),
    "ge": lambda search, target: overlaps(above(search), target) or contains(search, target),
    "le": lambda search, target: overlaps(below(search), target) or contains(search, target),
    "sa": lambda search, target: not overlaps(search, target) and contains(above(search), target),
    "eb": lambda search, target: not overlaps(search, target) and contains(below(search), target),
}
ends = st.integers(-12, 12)
intervals = st.tuples(ends, ends).filter(lambda pair: pair[0] < pair[1])
targets = st.one_of(intervals, ends.map(lambda end: (end, MAX_TIME)), ends.map(lambda end: (MIN_TIME, end)))


@pytest.mark.parametrize("prefix", RULES)
@given(search=intervals, target=targets)
def test_intervals_compare_as_the_specification_says(prefix: str, search: Interval, target: Interval) -> None:
    assert holds(values._intervals("x", prefix, *search), target) == RULES[prefix](search, target)


@pytest.mark.parametrize("prefix", RULES)
@given(search=intervals, point=ends)
def test_points_compare_as_the_specification_says(prefix: str, search: Interval, point: int) -> None:
    assert holds(values._points("x", prefix, *search), (point, point + 1)) == RULES[prefix](search, (point, point + 1))


@given(search=intervals, share=st.floats(0, 1, exclude_max=True))
def test_approximately_includes_what_overlaps(search: Interval, share: float) -> None:
    point = search[0] + int(share * (search[1] - search[0]))
    assert holds(values._intervals("x", "ap", *search), (point, point + 1))
    assert holds(values._points("x", "ap", *search), (point, point + 1))


bounds = st.none() | ends


@given(st.lists(st.builds(Date, st.just("x"), bounds, bounds, bounds, bounds), min_size=1, max_size=4), targets)
def test_merged_conditions_hold_where_all_of_them_do(parts: list[Condition], target: Interval) -> None:
    merged = values.merge_dates(list(parts))
    assert all(holds(c, target) for c in merged) == all(holds(c, target) for c in parts)
    assert len(merged) == 1


def test_only_plain_bounds_are_merged() -> None:
    either = Or((Date("x", low_lt=1), Date("x", low_ge=5)))
    assert values.merge_dates([Date("x", low_ge=0), either, Date("x", low_lt=9)]) == [
        Date("x", low_ge=0, low_lt=9),
        either,
    ]
