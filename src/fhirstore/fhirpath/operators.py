"""https://hl7.org/fhirpath/N1/#operations: order, equivalence and arithmetic; tables of all operators.

Dates and times: https://hl7.org/fhirpath/N1/#datetime-comparison. An empty operand gives an empty result unless the
specification says otherwise.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any

from fhirstore.fhirpath.evaluation import (
    EMPTY,
    NUMBERS,
    Environment,
    Evaluate,
    QuantityValue,
    Values,
    and_,
    as_quantity,
    equal,
    equals,
    implies,
    in_,
    or_,
    single,
    xor,
)
from fhirstore.model.messages import Message

MAX_TEXT = 1024 * 1024
"""The maximum length of a string that an expression makes. aggregate() can double a string for each value."""
MAX_BITS = 4096
"""The maximum number of bits of an integer that an expression makes."""

MakeOperator = Callable[[Evaluate, Evaluate], Evaluate]

CALENDAR_UNITS = {
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "millisecond": "ms",
}  # fmt: skip
"""The UCUM codes of calendar units: https://hl7.org/fhirpath/N1/#time-valued-quantities."""

_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T.*)?)?)?")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?")
_MONTHS = {"a": 12, "mo": 1}
_SECONDS = {"wk": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1}


def bounded(text: str) -> str:
    """Raises ValueError for a string of more than MAX_TEXT characters."""
    if len(text) > MAX_TEXT:
        raise ValueError(Message("the string has more than {limit} characters", limit=MAX_TEXT))
    return text


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


def equivalent(one: Values, other: Values) -> bool:
    """https://hl7.org/fhirpath/N1/#equivalent: the same values in any order; case, white space and trailing decimals
    do not count."""
    if len(one) != len(other):
        return False
    rest = list(other)
    for value in one:
        found = next((i for i, candidate in enumerate(rest) if _equivalent(value, candidate)), None)
        if found is None:
            return False
        del rest[found]
    return True


def _equivalent(one: Any, other: Any) -> bool:
    if type(one) is str and type(other) is str:
        return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
    if type(one) is Decimal and type(other) is Decimal:
        places = max(_exponent(one), _exponent(other))
        return round(one, -places) == round(other, -places)
    if type(one) is dict and type(other) is dict:
        if one.keys() - {"id"} != other.keys() - {"id"}:
            return False
        return all(equivalent(_listed(v), _listed(other[k])) for k, v in one.items() if k != "id")
    return equal(one, other)


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if type(exponent) is int else 0


def _listed(value: Any) -> Values:
    return value if type(value) is list else [value]


# --- operators ----------------------------------------------------------------------------------------


def equals_temporal(expected: bool) -> MakeOperator:
    """`=` and `!=` of dates and times: empty if one is equal to the other at the precision of the other only."""

    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        plain = equals(expected)(left, right)

        def run(this: Any, env: Environment) -> Values:
            one, other = left(this, env), right(this, env)
            if len(one) != 1 or len(other) != 1 or type(one[0]) is not str or type(other[0]) is not str:
                return plain(this, env)
            order = compare(one[0], other[0])
            return EMPTY if order is None else [(order == 0) is expected]

        return run

    return make


def _is_equivalent(expected: bool) -> MakeOperator:
    return lambda left, right: lambda this, env: [equivalent(left(this, env), right(this, env)) is expected]


def _ordered(test: Callable[[int], bool]) -> MakeOperator:
    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        def run(this: Any, env: Environment) -> Values:
            one, other = single(left(this, env)), single(right(this, env))
            if one is None or other is None:
                return EMPTY
            order = compare(one, other)
            return EMPTY if order is None else [test(order)]

        return run

    return make


def _of_single_values(operation: Callable[[Any, Any], Any]) -> MakeOperator:
    """An operator of two single values. The operation returns None for an empty result."""

    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        def run(this: Any, env: Environment) -> Values:
            one, other = single(left(this, env)), single(right(this, env))
            if one is None or other is None:
                return EMPTY
            result = operation(one, other)
            return EMPTY if result is None else [result]

        return run

    return make


def _is_number(value: Any) -> bool:
    return type(value) in NUMBERS


def _plus(one: Any, other: Any) -> Any:
    if type(one) is str and type(other) is str:
        return bounded(one + other)
    if _is_number(one) and _is_number(other):
        return one + other
    return _add(one, other, 1)


def _minus(one: Any, other: Any) -> Any:
    if _is_number(one) and _is_number(other):
        return one - other
    return _add(one, other, -1)


def _add(one: Any, other: Any, sign: int) -> Any:
    second = as_quantity(other)
    if type(one) is str and second is not None:
        return shift(one, second, sign)
    first = as_quantity(one)
    if first is None or second is None:
        raise ValueError(Message("+ and - need two numbers, two strings, two quantities, or a date and a duration"))
    return QuantityValue(first.value + sign * second.value, first.unit) if first.unit == second.unit else None


def _numbers(one: Any, other: Any) -> None:
    if not _is_number(one) or not _is_number(other):
        raise ValueError(Message("*, /, div and mod need two numbers"))


def _times(one: Any, other: Any) -> Any:
    _numbers(one, other)
    if type(one) is int and type(other) is int and one.bit_length() + other.bit_length() > MAX_BITS:
        return None  # https://hl7.org/fhirpath/N1/#math-1: an overflow gives an empty result
    return one * other


def _divided(one: Any, other: Any) -> Any:
    _numbers(one, other)
    try:
        return Decimal(one) / Decimal(other)
    except (DivisionByZero, InvalidOperation):
        return None


def _div(one: Any, other: Any) -> Any:
    quotient = _divided(one, other)
    return None if quotient is None else int(quotient)


def _mod(one: Any, other: Any) -> Any:
    quotient = _div(one, other)
    return None if quotient is None else one - quotient * other


def _concatenate(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one, other = single(left(this, env)), single(right(this, env))
        return [bounded("".join(str(v) for v in (one, other) if v is not None))]

    return run


def negative(operand: Evaluate) -> Evaluate:
    """The polarity operator `-`."""

    def run(this: Any, env: Environment) -> Values:
        value = single(operand(this, env))
        if value is None:
            return EMPTY
        if type(value) is QuantityValue:
            return [QuantityValue(-value.value, value.unit)]
        if not _is_number(value):
            raise ValueError(Message("- needs a number or a quantity"))
        return [-value]

    return run


LOGICAL: Mapping[str, MakeOperator] = {
    "and": and_,
    "or": or_,
    "xor": xor,
    "implies": implies,
    "=": equals(True),
    "!=": equals(False),
    "~": _is_equivalent(True),
    "!~": _is_equivalent(False),
    "<": _ordered(lambda o: o < 0),
    "<=": _ordered(lambda o: o <= 0),
    ">": _ordered(lambda o: o > 0),
    ">=": _ordered(lambda o: o >= 0),
    "in": in_,
    "contains": lambda left, right: in_(right, left),
}
"""Operators whose result is a boolean."""

ARITHMETIC: Mapping[str, MakeOperator] = {
    "+": _of_single_values(_plus),
    "-": _of_single_values(_minus),
    "*": _of_single_values(_times),
    "/": _of_single_values(_divided),
    "div": _of_single_values(_div),
    "mod": _of_single_values(_mod),
    "&": _concatenate,
}
