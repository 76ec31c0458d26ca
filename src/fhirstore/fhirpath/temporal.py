"""https://hl7.org/fhirpath/N1/#datetime-comparison: order and arithmetic of dates, times and quantities."""

from __future__ import annotations

import calendar
import re
from datetime import datetime, time, timedelta
from typing import Any

from fhirstore.fhirpath.values import NUMBERS, QuantityValue, as_quantity
from fhirstore.model.messages import Message

CALENDAR_UNITS = {
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "millisecond": "ms",
}  # fmt: skip
"""The UCUM codes of calendar units: https://hl7.org/fhirpath/N1/#time-valued-quantities."""

_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T.*)?)?)?")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?")
_MONTHS = {"a": 12, "mo": 1}
_SECONDS = {"wk": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1}


def compare(value: Any, other: Any) -> int | None:
    """-1, 0 or 1 if `value` is below, equal to or above `other`. None if their order cannot be told.

    Numbers, strings, dates and times, and quantities of the same unit are ordered. Dates that are equal at the
    precision they share have no order unless they have the same precision."""
    if type(value) in NUMBERS and type(other) in NUMBERS:
        return int(value > other) - int(value < other)
    if type(value) is str and type(other) is str:
        if _DATE.fullmatch(value) and _DATE.fullmatch(other):
            return _compare_dates(value, other)
        if _TIME.fullmatch(value) and _TIME.fullmatch(other):
            return _compare_times(value, other)
        return int(value > other) - int(value < other)
    return _compare_quantities(value, other)


def _compare_quantities(value: Any, other: Any) -> int | None:
    if type(value) is dict and type(other) is dict and any(value.get(k) != other.get(k) for k in ("system", "code")):
        return None
    one, two = as_quantity(value), as_quantity(other)
    if one is None or two is None or one.unit != two.unit:
        return None
    return int(one.value > two.value) - int(one.value < two.value)


def _compare_dates(value: str, other: str) -> int | None:
    if "T" in value and "T" in other:
        try:
            one, two = datetime.fromisoformat(value), datetime.fromisoformat(other)
            return int(one > two) - int(one < two)
        except (ValueError, TypeError):  # a second 60, or a time zone on one side only
            return None
    day, other_day = value.partition("T")[0], other.partition("T")[0]
    length = min(len(day), len(other_day))
    one_text, two_text = day[:length], other_day[:length]
    if one_text != two_text:
        return 1 if one_text > two_text else -1
    return 0 if len(value) == len(other) else None


def _compare_times(value: str, other: str) -> int | None:
    length = min(len(value.partition(".")[0]), len(other.partition(".")[0]))
    if value[:length] != other[:length]:
        return 1 if value[:length] > other[:length] else -1
    if len(value.partition(".")[0]) != len(other.partition(".")[0]):
        return None
    one, two = time.fromisoformat(value), time.fromisoformat(other)
    return int(one > two) - int(one < two)


def shift(value: str, quantity: QuantityValue, sign: int) -> str | None:
    """https://hl7.org/fhirpath/N1/#datetime-arithmetic: a date or date-time plus (sign 1) or minus (-1) a duration.

    The result has the precision of `value`. None if the unit is finer than that precision, or the result is no date.
    Raises ValueError for a unit that is no duration, and for a time of day."""
    if not _DATE.fullmatch(value):
        raise ValueError(Message("+ and - of a duration need a date or a date-time"))
    amount, unit = sign * int(quantity.value), CALENDAR_UNITS.get(quantity.unit, quantity.unit)
    if unit not in _MONTHS and unit not in _SECONDS:
        raise ValueError(Message("{unit} is not a unit of time", unit=repr(quantity.unit)))
    day, has_time, clock = value.partition("T")
    try:
        if unit in _MONTHS:
            shifted = _add_months(day, amount * _MONTHS[unit])
            return shifted and shifted + has_time + clock
        if has_time:
            moment = datetime.fromisoformat(value) + timedelta(seconds=amount * _SECONDS[unit])
            return _like(moment.isoformat(timespec="milliseconds" if "." in clock else "seconds"), value)
        if len(day) < 10 or _SECONDS[unit] < 86400:
            return None
        moment = datetime.fromisoformat(day) + timedelta(seconds=amount * _SECONDS[unit])
        return moment.date().isoformat()
    except (ValueError, OverflowError):
        return None


def _add_months(day: str, months: int) -> str | None:
    if len(day) == 4:
        return f"{int(day) + months // 12:04}" if months % 12 == 0 else None
    total = int(day[:4]) * 12 + int(day[5:7]) - 1 + months
    year, month = divmod(total, 12)
    if not 1 <= year <= 9999:
        return None
    moved = f"{year:04}-{month + 1:02}"
    if len(day) == 7:
        return moved
    return f"{moved}-{min(int(day[8:]), calendar.monthrange(year, month + 1)[1]):02}"


def _like(text: str, original: str) -> str:
    """Keeps the Z of the original, which isoformat() writes as +00:00."""
    return text.removesuffix("+00:00") + "Z" if original.endswith("Z") else text
