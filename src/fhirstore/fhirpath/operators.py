"""https://hl7.org/fhirpath/N1/#operations: the operators as closures.

Each maker takes two compiled operands and returns a compiled expression. An empty operand gives an empty result
unless the specification says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any

from fhirstore.fhirpath.temporal import compare, shift
from fhirstore.fhirpath.values import (
    EMPTY,
    NO,
    NUMBERS,
    YES,
    Environment,
    Evaluate,
    QuantityValue,
    Values,
    as_quantity,
    boolean,
    distinct,
    equal,
    equivalent,
    single,
)
from fhirstore.model.messages import Message

MakeOperator = Callable[[Evaluate, Evaluate], Evaluate]


# --- logic -------------------------------------------------------------------------------------------


def _and(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = boolean(left(this, env))
        if one is False:
            return NO
        other = boolean(right(this, env))
        return NO if other is False else YES if one and other else EMPTY

    return run


def _or(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = boolean(left(this, env))
        if one:
            return YES
        other = boolean(right(this, env))
        return YES if other else NO if one is False and other is False else EMPTY

    return run


def _xor(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one, other = boolean(left(this, env)), boolean(right(this, env))
        return EMPTY if one is None or other is None else [one is not other]

    return run


def _implies(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = boolean(left(this, env))
        if one is False:
            return YES
        other = boolean(right(this, env))
        return YES if other else EMPTY if one is None or other is None else NO

    return run


# --- comparison --------------------------------------------------------------------------------------


def _equals(expected: bool) -> MakeOperator:
    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        def run(this: Any, env: Environment) -> Values:
            one, other = left(this, env), right(this, env)
            if not one or not other:
                return env.if_missing if expected and (one or other) else EMPTY
            same = len(one) == len(other) and all(map(equal, one, other))
            return YES if same is expected else NO

        return run

    return make


def equals_temporal(expected: bool) -> MakeOperator:
    """`=` and `!=` of dates and times: empty if one is equal to the other at the precision of the other only."""

    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        plain = _equals(expected)(left, right)

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


def _in(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = left(this, env)
        if not one:
            return env.if_missing
        value = single(one)
        return [any(equal(value, other) for other in right(this, env))]

    return run


# --- arithmetic --------------------------------------------------------------------------------------


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
    if (_is_number(one) and _is_number(other)) or (type(one) is str and type(other) is str):
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
        return ["".join(str(v) for v in (one, other) if v is not None)]

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


def union(left: Evaluate, right: Evaluate) -> Evaluate:
    """`|`: the values of both operands, each once."""
    return lambda this, env: distinct([*left(this, env), *right(this, env)])


LOGICAL: Mapping[str, MakeOperator] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
    "=": _equals(True),
    "!=": _equals(False),
    "~": _is_equivalent(True),
    "!~": _is_equivalent(False),
    "<": _ordered(lambda o: o < 0),
    "<=": _ordered(lambda o: o <= 0),
    ">": _ordered(lambda o: o > 0),
    ">=": _ordered(lambda o: o >= 0),
    "in": _in,
    "contains": lambda left, right: _in(right, left),
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
