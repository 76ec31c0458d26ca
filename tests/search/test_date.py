"""The prefixes, against the wording of https://hl7.org/fhir/R4/search.html#prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
from fhirstore.search import date

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
    assert holds(date._intervals("x", prefix, *search), target) == RULES[prefix](search, target)


@pytest.mark.parametrize("prefix", RULES)
@given(search=intervals, point=ends)
def test_points_compare_as_the_specification_says(prefix: str, search: Interval, point: int) -> None:
    assert holds(date._points("x", prefix, *search), (point, point + 1)) == RULES[prefix](search, (point, point + 1))


@given(search=intervals, share=st.floats(0, 1, exclude_max=True))
def test_approximately_includes_what_overlaps(search: Interval, share: float) -> None:
    point = search[0] + int(share * (search[1] - search[0]))
    assert holds(date._intervals("x", "ap", *search), (point, point + 1))
    assert holds(date._points("x", "ap", *search), (point, point + 1))


bounds = st.none() | ends


@given(st.lists(st.builds(Date, st.just("x"), bounds, bounds, bounds, bounds), min_size=1, max_size=4), targets)
def test_merged_conditions_hold_where_all_of_them_do(parts: list[Condition], target: Interval) -> None:
    merged = date.merge(list(parts))
    assert all(holds(c, target) for c in merged) == all(holds(c, target) for c in parts)
    assert len(merged) == 1


def test_only_plain_bounds_are_merged() -> None:
    either = Or((Date("x", low_lt=1), Date("x", low_ge=5)))
    assert date.merge([Date("x", low_ge=0), either, Date("x", low_lt=9)]) == [Date("x", low_ge=0, low_lt=9), either]
