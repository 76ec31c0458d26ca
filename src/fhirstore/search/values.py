"""Comparable forms of values: decimals, text, dates.

https://hl7.org/fhir/R4/search.html#number · https://hl7.org/fhir/R4/search.html#string ·
https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal

from fhirstore.model.messages import Message

_COMPLEMENT = str.maketrans("0123456789", "9876543210")


def number_key(value: Decimal) -> str:
    """Text that sorts (by code point) as the numbers do, exact for any magnitude; equal numbers give equal keys.

    Raises ValueError for NaN and infinities.
    """
    if not value.is_finite():
        raise ValueError(Message("{value} is not a number", value=value))
    sign, digits, _ = value.as_tuple()
    if not value:
        return "1"
    shown = "".join(map(str, digits)).rstrip("0")
    if sign:
        # Mirrored: a greater exponent or digit makes a smaller number; "~" puts the shorter text last.
        return f"0{_exponent_key(-value.adjusted())}{shown.translate(_COMPLEMENT)}~"
    return f"2{_exponent_key(value.adjusted())}{shown}"


def _exponent_key(exponent: int) -> str:
    """A letter for sign and length, then the digits: Z9…Z0 for -0…-9 up to a0…a9, b10…b99, and so on."""
    shown = str(abs(exponent))
    if exponent < 0:
        return chr(ord("[") - len(shown)) + shown.translate(_COMPLEMENT)
    return chr(ord("`") + len(shown)) + shown


_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+\- ]\d\d:\d\d)?)?)?)?", re.ASCII
)
_EPOCH = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 86_400 * _SECOND
_MICROSECOND = timedelta(microseconds=1)
_SHAPES = Message("YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss[.fff] with Z or an offset such as +01:00")


def date_interval(text: str, zone: tzinfo) -> tuple[int, int]:
    """The interval [low, high), in microseconds since 1970 UTC, that a date, dateTime or instant names.

    Precision is that of the text; digits below the microsecond are dropped. Days, months and years are those of
    UTC; `zone` completes a time without offset. A blank in the place of the offset's sign is a "+" that was not
    percent-encoded. Second 60 is the next minute's first. Raises ValueError with what would be right.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(Message("{text} is not a date: give {shapes}", text=repr(text[:60]), shapes=_SHAPES))
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        if hour is None:
            return _days(int(year), month, day)
        at = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    except ValueError as e:
        raise ValueError(
            Message(
                "{text} is not a date: {reason}", text=repr(text), reason=_calendar_fault(e, month, day, hour, minute)
            )
        ) from None
    low = (at.toordinal() - _EPOCH) * _DAY + (at.hour * 60 + at.minute) * _MINUTE
    width = _MINUTE
    if second is not None:
        if int(second) > 60:
            raise ValueError(Message("{text} is not a date: second must be in 0..60", text=repr(text)))
        low += int(second) * _SECOND
        width = _SECOND
        if fraction is not None:
            low += int(fraction[:6].ljust(6, "0"))
            width = 10 ** max(0, 6 - len(fraction))
    low -= _local_offset(at, zone) if offset is None else _offset(offset, text)
    return low, low + width


def _calendar_fault(
    problem: ValueError, month: str | None, day: str | None, hour: str | None, minute: str | None
) -> Message | ValueError:
    """Why the parts of a date are no date. Python's own text is not used, because it is not translated."""
    if month is not None and not 1 <= int(month) <= 12:
        return Message("month must be in 1..12")
    if hour is not None and int(hour) > 23:
        return Message("hour must be in 0..23")
    if minute is not None and int(minute) > 59:
        return Message("minute must be in 0..59")
    return problem if day is None else Message("day is out of range for month")


def _days(year: int, month: str | None, day: str | None) -> tuple[int, int]:
    """The interval of a year, month or day."""
    first = date(year, int(month or 1), int(day or 1)).toordinal()
    if day is not None:
        after = first + 1
    elif month is not None and int(month) < 12:
        after = date(year, int(month) + 1, 1).toordinal()
    else:
        after = date(year, 12, 31).toordinal() + 1
    return (first - _EPOCH) * _DAY, (after - _EPOCH) * _DAY


def _local_offset(at: datetime, zone: tzinfo) -> int:
    """Microseconds east of UTC at a wall time of the zone; of a time that occurs twice, the first."""
    shift = at.replace(tzinfo=zone).utcoffset()
    return shift // _MICROSECOND if shift else 0


def _offset(offset: str, text: str) -> int:
    """Microseconds east of UTC."""
    if offset == "Z":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise ValueError(Message("{text} is not a date: offsets go from -14:00 to +14:00", text=repr(text)))
    return (hours * 60 + minutes) * (-_MINUTE if offset[0] == "-" else _MINUTE)
