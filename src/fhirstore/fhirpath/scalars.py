"""https://hl7.org/fhirpath/N1/#functions: conversion, string and math functions, each of one value.

Functions take the values of the target and the single value of each argument (None if it is empty). They return an
empty list for an empty target and raise ValueError if there are several values or one of the wrong type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from fhirstore.fhirpath.evaluation import EMPTY, NUMBERS, QuantityValue, Values, as_quantity, single
from fhirstore.fhirpath.operators import CALENDAR_UNITS, MAX_BITS, bounded
from fhirstore.formats.patterns import compile_pattern, replace_matches
from fhirstore.model.messages import Message

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?")
_DATE_TIME = re.compile(
    rf"{_DATE.pattern}(?:T[0-9]{{2}}(?::[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]+)?)?)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?)?"
)
_TIME = re.compile(r"T?([0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?)")
_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)\s*(?:'([^']+)'|([a-z]+))?")
_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})


# --- conversion --------------------------------------------------------------------------------------


def _to_boolean(value: Any) -> Any:
    if type(value) is bool:
        return value
    text = str(value).lower() if type(value) in (str, *NUMBERS) else ""
    return True if text in _TRUE else False if text in _FALSE else None


def _to_integer(value: Any) -> Any:
    if type(value) in (int, bool):
        return int(value)
    return int(value) if type(value) is str and _INTEGER.fullmatch(value) else None


def _to_decimal(value: Any) -> Any:
    if type(value) in (int, bool, Decimal):
        return Decimal(value)
    return Decimal(value) if type(value) is str and _DECIMAL.fullmatch(value) else None


def _to_string(value: Any) -> Any:
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is QuantityValue:
        return f"{value.value} '{value.unit}'"
    return str(value) if type(value) in (str, *NUMBERS) else None


def _to_date(value: Any) -> Any:
    match = _DATE_TIME.fullmatch(value) if type(value) is str else None
    return match[0].partition("T")[0] if match else None


def _to_date_time(value: Any) -> Any:
    return value if type(value) is str and _DATE_TIME.fullmatch(value) else None


def _to_time(value: Any) -> Any:
    match = _TIME.fullmatch(value) if type(value) is str else None
    return match[1] if match else None


def _to_quantity(value: Any) -> Any:
    if type(value) is not str:
        return QuantityValue(int(value), "1") if type(value) is bool else as_quantity(value)
    match = _QUANTITY.fullmatch(value)
    word = match[3] and CALENDAR_UNITS.get(match[3].removesuffix("s")) if match else None
    if match is None or (match[3] and word is None):
        return None
    return QuantityValue(Decimal(match[1]), match[2] or word or "1")


_CONVERSIONS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "Boolean": (_to_boolean, "boolean"),
    "Integer": (_to_integer, "integer"),
    "Decimal": (_to_decimal, "decimal"),
    "String": (_to_string, "string"),
    "Date": (_to_date, "date"),
    "DateTime": (_to_date_time, "dateTime"),
    "Time": (_to_time, "time"),
    "Quantity": (_to_quantity, "Quantity"),
}


def _conversion(convert: Callable[[Any], Any]) -> Callable[[Values], Values]:
    def function(values: Values) -> Values:
        result = convert(single(values)) if values else None
        return EMPTY if result is None else [result]

    return function


def _can_convert(convert: Callable[[Any], Any]) -> Callable[[Values], Values]:
    return lambda values: [convert(single(values)) is not None] if values else EMPTY


# --- strings -----------------------------------------------------------------------------------------


def string(values: Values, function: str) -> str | None:
    """The string of the target. None if there is none, or only an extension in its place."""
    value = single(values)
    if value is None or type(value) is dict:
        return None
    if type(value) is not str:
        raise ValueError(Message("{function} needs a string", function=function))
    return value


def _of_string(name: str, operation: Callable[..., Any]) -> Callable[..., Values]:
    """A function of a string and of arguments that are strings; empty if any of them is."""
    label = f"{name}()"

    def function(values: Values, *arguments: Any) -> Values:
        text = string(values, label)
        if text is None:
            return EMPTY
        for argument in arguments:
            if argument is None:
                return EMPTY
            if type(argument) is not str:
                raise ValueError(Message("{name}() needs a string as its argument", name=name))
        result = operation(text, *arguments)
        return [bounded(result) if type(result) is str else result]

    return function


def _matches(text: str, pattern: str) -> bool:
    return compile_pattern(pattern).search(text) is not None


def _substring(values: Values, start: Any, length: Any = None) -> Values:
    text = string(values, "substring()")
    if text is None or start is None or not 0 <= start < len(text):
        return EMPTY
    return [text[start:] if length is None else text[start : start + max(0, length)]]


def _to_chars(values: Values) -> Values:
    return list(string(values, "toChars()") or "")


# --- math --------------------------------------------------------------------------------------------


def _of_number(operation: Callable[..., Any]) -> Callable[..., Values]:
    """A function of a number; empty where the result is no number."""

    def function(values: Values, *arguments: Any) -> Values:
        value = single(values)
        if value is None:
            return EMPTY
        if type(value) not in NUMBERS or any(type(a) not in NUMBERS for a in arguments):
            raise ValueError(Message("a math function needs numbers"))
        try:
            return [operation(value, *arguments)]
        except (ValueError, OverflowError, ZeroDivisionError, InvalidOperation):
            return EMPTY

    return function


def _decimal(number: float) -> Decimal:
    return Decimal(str(number))


def _round(value: Any, precision: Any = 0) -> Any:
    return Decimal(value).quantize(Decimal(1).scaleb(-precision), rounding=ROUND_HALF_UP)


def _power(value: Any, exponent: Any) -> Any:
    if type(value) is int and type(exponent) is int and exponent >= 0:
        if exponent * value.bit_length() > MAX_BITS:
            raise OverflowError
        return value**exponent
    return _decimal(math.pow(value, exponent))


def _log(value: Any, base: Any) -> Decimal:
    return _decimal(math.log(value, base))


# --- clock -------------------------------------------------------------------------------------------


def today() -> str:
    """The date in the time zone of the server."""
    return datetime.now().astimezone().date().isoformat()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_of_day() -> str:
    """The time of day in the time zone of the server."""
    return datetime.now().astimezone().time().isoformat(timespec="milliseconds")


FUNCTIONS: Mapping[str, tuple[Callable[..., Values], str, int, int]] = {
    **{f"to{name}": (_conversion(convert), type, 0, 0) for name, (convert, type) in _CONVERSIONS.items()},
    **{f"convertsTo{name}": (_can_convert(convert), "boolean", 0, 0) for name, (convert, _) in _CONVERSIONS.items()},
    "matches": (_of_string("matches", _matches), "boolean", 1, 1),
    "startsWith": (_of_string("startsWith", str.startswith), "boolean", 1, 1),
    "endsWith": (_of_string("endsWith", str.endswith), "boolean", 1, 1),
    "contains": (_of_string("contains", str.__contains__), "boolean", 1, 1),
    "indexOf": (_of_string("indexOf", str.find), "integer", 1, 1),
    "replace": (_of_string("replace", str.replace), "string", 2, 2),
    "replaceMatches": (_of_string("replaceMatches", replace_matches), "string", 2, 2),
    "substring": (_substring, "string", 1, 2),
    "upper": (_of_string("upper", str.upper), "string", 0, 0),
    "lower": (_of_string("lower", str.lower), "string", 0, 0),
    "length": (_of_string("length", len), "integer", 0, 0),
    "toChars": (_to_chars, "string", 0, 0),
    "abs": (_of_number(abs), "decimal", 0, 0),
    "ceiling": (_of_number(math.ceil), "integer", 0, 0),
    "floor": (_of_number(math.floor), "integer", 0, 0),
    "truncate": (_of_number(math.trunc), "integer", 0, 0),
    "round": (_of_number(_round), "decimal", 0, 1),
    "exp": (_of_number(lambda value: _decimal(math.exp(value))), "decimal", 0, 0),
    "ln": (_of_number(lambda value: _decimal(math.log(value))), "decimal", 0, 0),
    "log": (_of_number(_log), "decimal", 1, 1),
    "power": (_of_number(_power), "decimal", 1, 1),
    "sqrt": (_of_number(lambda value: _decimal(math.sqrt(value))), "decimal", 0, 0),
}
"""By name: (function, FHIR type of its result, fewest arguments, most arguments)."""
