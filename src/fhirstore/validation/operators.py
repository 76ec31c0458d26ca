"""https://hl7.org/fhirpath/N1/#operations: the operators of the compiled invariants (`truth`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.validation.constraints import compare, equal
from fhirstore.validation.values import (
    EMPTY,
    NO,
    YES,
    Env,
    Incomparable,
    Number,
    Run,
    Values,
    boolean,
    distinct,
    one_of,
)

Make = Callable[[Run, Run], Run]
"""Two compiled expressions -> one."""


def _and(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        one = boolean(left(this, env))
        if one is False:
            return NO
        other = boolean(right(this, env))
        return NO if other is False else YES if one and other else EMPTY

    return run


def _or(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        one = boolean(left(this, env))
        if one:
            return YES
        other = boolean(right(this, env))
        return YES if other else NO if one is False and other is False else EMPTY

    return run


def _xor(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        one, other = boolean(left(this, env)), boolean(right(this, env))
        return EMPTY if one is None or other is None else [one is not other]

    return run


def _implies(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        one = boolean(left(this, env))
        if one is False:
            return YES
        other = boolean(right(this, env))
        return YES if other else EMPTY if one is None or other is None else NO

    return run


def _equals(wanted: bool) -> Make:
    def make(left: Run, right: Run) -> Run:
        def run(this: Any, env: Env) -> Values:
            one, other = left(this, env), right(this, env)
            if not one or not other:
                return EMPTY
            same = len(one) == len(other) and all(map(equal, one, other))
            return YES if same is wanted else NO

        return run

    return make


def _ordered(test: Callable[[int], bool]) -> Make:
    def make(left: Run, right: Run) -> Run:
        def run(this: Any, env: Env) -> Values:
            one, other = one_of(left(this, env)), one_of(right(this, env))
            if one is None or other is None:
                return EMPTY
            order = compare(one, other)
            if order is None:
                raise Incomparable
            return [test(order)]

        return run

    return make


def _in(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        one = left(this, env)
        if not one:
            return EMPTY
        value = one_of(one)
        return [any(equal(value, other) for other in right(this, env))]

    return run


def _plus(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        one, other = one_of(left(this, env)), one_of(right(this, env))
        if one is None or other is None:
            return EMPTY
        if not (type(one) in Number and type(other) in Number) and not (type(one) is str and type(other) is str):
            raise ValueError("+ wants two numbers or two texts")
        return [one + other]

    return run


def _joined(left: Run, right: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        return ["".join(str(v) for values in (left(this, env), right(this, env)) for v in values[:1])]

    return run


OPERATORS: Mapping[str, Make] = {
    "and": _and,
    "or": _or,
    "xor": _xor,
    "implies": _implies,
    "=": _equals(True),
    "!=": _equals(False),
    "<": _ordered(lambda o: o < 0),
    "<=": _ordered(lambda o: o <= 0),
    ">": _ordered(lambda o: o > 0),
    ">=": _ordered(lambda o: o >= 0),
    "in": _in,
    "contains": lambda left, right: _in(right, left),
    "+": _plus,
    "&": _joined,
}


def union(left: Run, right: Run) -> Run:
    return lambda this, env: distinct([*left(this, env), *right(this, env)])
