"""Number parameters: https://hl7.org/fhir/R4/search.html#number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import Condition, Number, Or
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.messages import Message
from fhirstore.search.syntax import SearchContext, prefixed, unescape
from fhirstore.search.values import number_key

_DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def entries(values: Sequence[Typed]) -> list[IndexEntry]:
    """(key,) of each number; a Range gives its two ends, a quantity its value."""
    return [(key,) for _, value in values for key in keys(value)]


def keys(value: Any) -> list[str]:
    """The order-preserving texts of a number, or of the numbers in a quantity or range."""
    if isinstance(value, dict):
        ends = (value.get("value"), *(end.get("value") for end in (value.get("low"), value.get("high")) if end))
        return [key for end in ends if end is not None for key in keys(end)]
    if isinstance(value, Decimal):
        return [number_key(value)]
    return [number_key(Decimal(value))] if type(value) is int else []


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """`100` means 99.5 to 100.5, `100.0` 99.95 to 100.05; after gt, lt, ge, le, sa, eb the number is exact."""
    return [_one(param.code, value) for value in values]


def _one(code: str, value: str) -> Condition:
    prefix, text = prefixed(unescape(value))
    return compare(code, prefix, decimal(text))


def decimal(text: str) -> Decimal:
    """A FHIR decimal, all digits kept. Raises ValueError."""
    try:
        if _DECIMAL.fullmatch(text):
            return Decimal(text)
    except ArithmeticError:
        pass
    raise ValueError(
        Message(
            "{text} is not a number. Use digits such as 100, 5.40 or 1.2e-3, after an optional prefix",
            text=repr(text[:60]),
        )
    )


def compare(code: str, prefix: str, value: Decimal, system: str | None = None, unit: str | None = None) -> Condition:
    """What a prefix asks of a number or quantity: https://hl7.org/fhir/R4/search.html#prefix."""

    def within(**bounds: str) -> Number:
        return Number(code, **bounds, system=system, code=unit)

    if prefix in ("gt", "sa"):
        return within(gt=number_key(value))
    if prefix in ("lt", "eb"):
        return within(lt=number_key(value))
    if prefix == "ge":
        return within(ge=number_key(value))
    if prefix == "le":
        return within(le=number_key(value))
    low, high = _precision(value)
    if prefix == "ap":
        around, beyond = _tenth(value)
        return within(ge=number_key(min(low, around)), le=number_key(max(high, beyond)))
    if prefix == "ne":
        return Or((within(lt=number_key(low)), within(ge=number_key(high))))
    return within(ge=number_key(low), lt=number_key(high))


def _exactly(value: Decimal) -> Context:
    """Arithmetic with room for every digit of the value and three more."""
    return Context(prec=len(value.as_tuple().digits) + 3, Emin=MIN_EMIN, Emax=MAX_EMAX)


def _precision(value: Decimal) -> tuple[Decimal, Decimal]:
    """Half a unit of the last digit below and above."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # finite: it was read from digits
    half, context = Decimal((0, (5,), exponent - 1)), _exactly(value)
    return context.subtract(value, half), context.add(value, half)


def _tenth(value: Decimal) -> tuple[Decimal, Decimal]:
    """A tenth of the value below and above."""
    context = _exactly(value)
    tenth = context.abs(value).scaleb(-1, context)
    return context.subtract(value, tenth), context.add(value, tenth)
