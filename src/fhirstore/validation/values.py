"""https://hl7.org/fhirpath/N1/#expressions: the values of compiled expressions, and where these are evaluated.

Every expression is a list of JSON values; what has no value is an empty list.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhirstore.validation.constraints import equal

Values = list[Any]
Number = (int, Decimal, float)


class Unsupported(Exception):
    """An expression is not covered."""


class Incomparable(Exception):
    """Two values have no order: quantities of other units, a date and a time of day."""


class Env:
    """context: the value that the invariant is of. resource: the one that it is part of; root: the one that contains
    that, or itself. find: a reference -> the resource that it points to, None when it is not at hand."""

    __slots__ = ("context", "find", "resource", "root")

    def __init__(self, context: Any, resource: Any, root: Any, find: Callable[[str], Any]):
        self.context, self.resource, self.root, self.find = context, resource, root, find


Run = Callable[[Any, Env], Values]
"""($this, environment) -> the values of an expression. That of a primitive that has an extension only is the object
beside it (`_birthDate`)."""

YES: Values = [True]
NO: Values = [False]
EMPTY: Values = []


def boolean(values: Values) -> bool | None:
    """https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections"""
    if not values:
        return None
    if len(values) > 1:
        raise ValueError(f"{len(values)} values where one boolean is wanted")
    return values[0] is not False


def one_of(values: Values) -> Any:
    """The only value, None where there is none. Raises ValueError where there are several."""
    if len(values) > 1:
        raise ValueError(f"{len(values)} values where one is wanted")
    return values[0] if values else None


def distinct(values: Values) -> Values:
    """Each value once, in order."""
    out: Values = []
    seen: set[Any] = set()
    for value in values:
        key = value if type(value) is str else None
        if key is not None:
            if key not in seen:
                seen.add(key)
                out.append(value)
        elif not any(equal(value, other) for other in out):
            out.append(value)
    return out
