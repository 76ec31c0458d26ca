"""The values of number and quantity parameters, as conditions, and the keys that compare numbers.

https://hl7.org/fhir/R4/search.html#number · https://hl7.org/fhir/R4/search.html#quantity
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from fhirstore.capability.registry import Registry, SearchParam
from fhirstore.model.conditions import Condition, Number, Or
from fhirstore.model.messages import Message
from fhirstore.search.syntax import prefixed, split, unescape
from fhirstore.search.values import ReadValues, any_of

_DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
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


def read_numbers(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """`100` means 99.5 to 100.5, `100.0` 99.95 to 100.05; after gt, lt, ge, le, sa, eb the number is exact."""
    return lambda context, values: any_of([_number(param.code, value) for value in values])


def _number(code: str, value: str) -> Condition:
    prefix, text = prefixed(unescape(value))
    return _compare(code, prefix, _decimal(text))


def read_quantities(registry: Registry, type: str, param: SearchParam, modifier: str) -> ReadValues:
    """`5.4`, `5.4|system|code`, `5.4||code` (any system; the code or the unit)."""
    return lambda context, values: any_of([_quantity(param.code, value) for value in values])


def _quantity(code: str, value: str) -> Condition:
    parts = [unescape(part).strip() for part in split(value, "|")]
    if len(parts) not in (1, 3):
        raise ValueError(
            Message("{value} is not a quantity. Use number, number|system|code or number||code", value=repr(value))
        )
    prefix, text = prefixed(parts[0])
    system, unit = (parts[1] or None, parts[2] or None) if len(parts) == 3 else (None, None)
    return _compare(code, prefix, _decimal(text), system, unit)


def _decimal(text: str) -> Decimal:
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


def _compare(code: str, prefix: str, value: Decimal, system: str | None = None, unit: str | None = None) -> Condition:
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
