"""Date parameters: https://hl7.org/fhir/R4/search.html#date, prefixes: https://hl7.org/fhir/R4/search.html#prefix."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import (
    MAX_TIME,
    MIN_TIME,
    Condition,
    Date,
    LastUpdated,
    Or,
)
from fhirstore.model.indexing import IndexEntry
from fhirstore.search.syntax import PREFIXES, SearchContext
from fhirstore.search.values import date_interval

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def entries(values: Sequence[Typed], zone: tzinfo) -> list[IndexEntry]:
    """[low, high) of each value: an instant is a point, an open end of a Period never ends, of a Timing only the
    outer limits count."""
    out: list[IndexEntry] = []
    for type, value in values:
        if type == "instant":
            low = _point(value, zone)
            out.append((low, low + 1))
        elif isinstance(value, str):
            out.append(date_interval(value, zone))
        elif type == "Timing":
            out += _timing(value, zone)
        elif type == "Period":
            out += _period(value, zone)
    return out


def _point(text: str, zone: tzinfo) -> int:
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except (ValueError, TypeError):  # second 60, or no offset
        return date_interval(text, zone)[0]
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _period(value: dict[str, Any], zone: tzinfo) -> list[IndexEntry]:
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return []
    low = MIN_TIME if start is None else date_interval(start, zone)[0]
    high = MAX_TIME if end is None else date_interval(end, zone)[1]
    return [(low, max(high, low + 1))]


def _timing(value: dict[str, Any], zone: tzinfo) -> list[IndexEntry]:
    limits: list[IndexEntry] = [date_interval(event, zone) for event in value.get("event", ())]
    limits += _period(value.get("repeat", {}).get("boundsPeriod", {}), zone)
    return [(min(low for low, _ in limits), max(high for _, high in limits))] if limits else []


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """The interval of the value compared, by prefix, with the intervals of the resource."""
    compare = _points if param.instant else _intervals
    return [compare(param.code, *_read(value, context.zone)) for value in values]


def last_updated(values: Sequence[str], zone: tzinfo) -> Sequence[Condition]:
    """`_lastUpdated`, an instant that every resource has."""
    return [_updated(_points("", *_read(value, zone))) for value in values]


def _updated(bounds: Condition) -> Condition:
    if isinstance(bounds, Or):
        return Or(tuple(_updated(part) for part in bounds.parts))
    assert isinstance(bounds, Date)
    return LastUpdated(bounds.low_ge, bounds.low_lt)


def merge(conditions: list[Condition]) -> list[Condition]:
    """Repetitions of one single-valued parameter as one: all bounds are met by the only entry there is."""
    dates = [c for c in conditions if isinstance(c, Date)]
    if len(dates) < 2:
        return conditions
    one = Date(
        dates[0].param,
        low_ge=max((d.low_ge for d in dates if d.low_ge is not None), default=None),
        low_lt=min((d.low_lt for d in dates if d.low_lt is not None), default=None),
        high_le=min((d.high_le for d in dates if d.high_le is not None), default=None),
        high_gt=max((d.high_gt for d in dates if d.high_gt is not None), default=None),
    )
    return [one, *(c for c in conditions if not isinstance(c, Date))]


def _read(value: str, zone: tzinfo) -> tuple[str, int, int]:
    prefix, text = (value[:2], value[2:].strip()) if value[:2] in PREFIXES else ("eq", value)
    low, high = date_interval(text, zone)
    return prefix, low, high


def _points(code: str, prefix: str, low: int, high: int) -> Condition:
    """For instants, whose entries are one microsecond long: bounds on their low end alone."""
    if prefix == "ge":
        return Date(code, low_ge=low)
    if prefix == "le":
        return Date(code, low_lt=high)
    if prefix in ("gt", "sa"):
        return Date(code, low_ge=high)
    if prefix in ("lt", "eb"):
        return Date(code, low_lt=low)
    if prefix == "ne":
        return Or((Date(code, low_lt=low), Date(code, low_ge=high)))
    if prefix == "ap":
        low, high = _widened(low, high)
    return Date(code, low_ge=low, low_lt=high)


def _intervals(code: str, prefix: str, low: int, high: int) -> Condition:
    if prefix == "ge":
        return Or((Date(code, low_ge=low), Date(code, high_gt=high)))
    if prefix == "le":
        return Or((Date(code, low_lt=low), Date(code, high_le=high)))
    if prefix == "gt":
        return Date(code, high_gt=high)
    if prefix == "lt":
        return Date(code, low_lt=low)
    if prefix == "sa":
        return Date(code, low_ge=high)
    if prefix == "eb":
        return Date(code, high_le=low)
    if prefix == "ne":
        return Or((Date(code, low_lt=low), Date(code, high_gt=high)))
    if prefix == "ap":
        low, high = _widened(low, high)
        return Date(code, low_lt=high, high_gt=low)
    return Date(code, low_ge=low, high_le=high)


def _widened(low: int, high: int) -> tuple[int, int]:
    """By a tenth of the distance between the interval and now."""
    now = time.time_ns() // 1000
    gap = max(low - now, now - high, 0) // 10
    return low - gap, high + gap
