"""https://hl7.org/fhirpath/N1/#functions: paths and functions of the compiled invariants (`truth`).

Each function takes compiled expressions and gives one: ($this, environment) -> list of values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from fhirstore.validation.constraints import equal
from fhirstore.validation.operators import Make, union
from fhirstore.validation.values import EMPTY, NO, YES, Env, Number, Run, Values, boolean, distinct, one_of

# --- paths ------------------------------------------------------------------------------------------


def property_of_this(keys: tuple[str, ...]) -> Run:
    (key,) = keys
    beside = "_" + key

    def run(this: Any, env: Env) -> Values:
        if type(this) is not dict:
            return EMPTY
        found = this.get(key)
        if found is None:
            return _beside(this[beside]) if beside in this else EMPTY
        if type(found) is list:
            return found if None not in found else _filled(found, this.get(beside))
        return [found]

    return run


def choice_of_this(keys: tuple[str, ...]) -> Run:
    names = {name: None for key in keys for name in (key, "_" + key)}

    def run(this: Any, env: Env) -> Values:
        if type(this) is dict:
            for name, found in this.items():
                if name in names:
                    return found if type(found) is list else [found]
        return EMPTY

    return run


def property_of(target: Run, keys: tuple[str, ...]) -> Run:
    step = property_of_this(keys) if len(keys) == 1 else choice_of_this(keys)

    def run(this: Any, env: Env) -> Values:
        out: Values = []
        for value in target(this, env):
            out += step(value, env)
        return out

    return run


def _beside(sibling: Any) -> Values:
    return [s for s in sibling if s is not None] if type(sibling) is list else [sibling]


def _filled(values: Values, siblings: Any) -> Values:
    """An array of primitives, whose nulls are those that have an extension only."""
    others = siblings if type(siblings) is list else []
    both = [v if v is not None or i >= len(others) else others[i] for i, v in enumerate(values)]
    return [v for v in both if v is not None]


def nth(target: Run, index: int) -> Run:
    def run(this: Any, env: Env) -> Values:
        return target(this, env)[index : index + 1]

    return run


def of_type(target: Run, test: Callable[[Any], bool]) -> Run:
    return lambda this, env: [v for v in target(this, env) if test(v)]


def is_type(target: Run, test: Callable[[Any], bool]) -> Run:
    def run(this: Any, env: Env) -> Values:
        values = target(this, env)
        return [test(one_of(values))] if values else EMPTY

    return run


def extension(target: Run, url: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        wanted = one_of(url(this, env))
        holders = [v.get("extension") for v in target(this, env) if type(v) is dict]
        return [e for many in holders if type(many) is list for e in many if type(e) is dict and e.get("url") == wanted]

    return run


# --- functions with an expression for each value ----------------------------------------------------


def _where(target: Run, test: Run) -> Run:
    return lambda this, env: [v for v in target(this, env) if boolean(test(v, env))]


def _select(target: Run, inner: Run) -> Run:
    return lambda this, env: [found for v in target(this, env) for found in inner(v, env)]


def _all(target: Run, test: Run) -> Run:
    return lambda this, env: [all(boolean(test(v, env)) for v in target(this, env))]


def _exists_where(target: Run, test: Run) -> Run:
    return lambda this, env: [any(boolean(test(v, env)) for v in target(this, env))]


LAMBDAS: Mapping[str, Make] = {"where": _where, "select": _select, "all": _all, "exists": _exists_where}


def iif(target: Run, arguments: list[Run]) -> Run:
    """The criterion sees the collection, as `$this`, whole where it has not exactly one value."""
    test, then, *rest = arguments

    def run(this: Any, env: Env) -> Values:
        values = target(this, env)
        inner = values[0] if len(values) == 1 else None
        if boolean(test(inner, env)):
            return then(inner, env)
        return rest[0](inner, env) if rest else EMPTY

    return run


# --- functions ---------------------------------------------------------------------------------------


def _of_values(function: Callable[..., Values]) -> Callable[..., Run]:
    """A function of the values of the target and of one value of each argument."""

    def make(target: Run, *arguments: Run) -> Run:
        if len(arguments) != function.__code__.co_argcount - 1:
            raise TypeError(f"{len(arguments)} arguments")
        if not arguments:
            return lambda this, env: function(target(this, env))

        def run(this: Any, env: Env) -> Values:
            return function(target(this, env), *(one_of(a(this, env)) for a in arguments))

        return run

    return make


def _text(values: Values, what: str) -> str | None:
    value = one_of(values)
    if value is None or type(value) is dict:
        return None
    if type(value) is not str:
        raise ValueError(f"{what} wants a text")
    return value


# Of no value these are false, not empty: so HL7's own validator has it, and R4 writes `fullUrl.contains(…).not()` of an
# element that may be absent.


def _matches(values: Values, pattern: Any) -> Values:
    text = _text(values, "matches()")
    return NO if text is None or type(pattern) is not str else [_regex(pattern).search(text) is not None]


@lru_cache(maxsize=512)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _starts(values: Values, start: Any) -> Values:
    text = _text(values, "startsWith()")
    return NO if text is None or type(start) is not str else [text.startswith(start)]


def _ends(values: Values, end: Any) -> Values:
    text = _text(values, "endsWith()")
    return NO if text is None or type(end) is not str else [text.endswith(end)]


def _contains(values: Values, part: Any) -> Values:
    text = _text(values, "contains()")
    return NO if text is None or type(part) is not str else [part in text]


def _replace_matches(values: Values, pattern: Any, other: Any) -> Values:
    text = _text(values, "replaceMatches()")
    return EMPTY if text is None else [_regex(pattern).sub(other.replace("\\", r"\\"), text)]


def _substring(values: Values, start: Any) -> Values:
    text = _text(values, "substring()")
    return EMPTY if text is None or not 0 <= start < len(text) else [text[start:]]


def _to_integer(values: Values) -> Values:
    value = one_of(values)
    if type(value) is int:
        return [value]
    return [int(value)] if type(value) is str and re.fullmatch(r"[+-]?[0-9]{1,18}", value) else EMPTY


def _to_string(values: Values) -> Values:
    value = one_of(values)
    if type(value) is bool:
        return ["true" if value else "false"]
    return [str(value)] if type(value) in (str, *Number) else EMPTY


def _has_value(values: Values) -> Values:
    return [len(values) == 1 and type(values[0]) is not dict]


def _not(values: Values) -> Values:
    value = boolean(values)
    return EMPTY if value is None else [not value]


def _length(values: Values) -> Values:
    text = _text(values, "length()")
    return EMPTY if text is None else [len(text)]


FUNCTIONS: Mapping[str, Callable[..., Run]] = {
    "exists": _of_values(lambda values: YES if values else NO),
    "empty": _of_values(lambda values: NO if values else YES),
    "not": _of_values(_not),
    "count": _of_values(lambda values: [len(values)]),
    "hasValue": _of_values(_has_value),
    "isDistinct": _of_values(lambda values: [len(distinct(values)) == len(values)]),
    "allTrue": _of_values(lambda values: [all(v is True for v in values)]),
    "matches": _of_values(_matches),
    "startsWith": _of_values(_starts),
    "endsWith": _of_values(_ends),
    "contains": _of_values(_contains),
    "replaceMatches": _of_values(_replace_matches),
    "substring": _of_values(_substring),
    "length": _of_values(_length),
    "toInteger": _of_values(_to_integer),
    "toString": _of_values(_to_string),
}


def _first(target: Run) -> Run:
    return lambda this, env: target(this, env)[:1]


def _last(target: Run) -> Run:
    return lambda this, env: target(this, env)[-1:]


def _tail(target: Run) -> Run:
    return lambda this, env: target(this, env)[1:]


def _distinct_of(target: Run) -> Run:
    return lambda this, env: distinct(target(this, env))


def _combine(target: Run, other: Run) -> Run:
    return lambda this, env: [*target(this, env), *other(this, env)]


def _intersect(target: Run, other: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        others = other(this, env)
        return distinct([v for v in target(this, env) if any(equal(v, o) for o in others)])

    return run


SAME_TYPE: Mapping[str, Callable[..., Run]] = {
    "first": _first,
    "last": _last,
    "tail": _tail,
    "distinct": _distinct_of,
    "combine": _combine,
    "union": union,
    "intersect": _intersect,
}
"""Functions that give values of the types that they get."""


def _children(value: Any) -> Iterator[Any]:
    if type(value) is dict:
        for key, item in value.items():
            if key != "resourceType" and not key.startswith("_"):
                yield from item if type(item) is list else (item,)


def _descendants(value: Any) -> Iterator[Any]:
    for child in _children(value):
        yield child
        yield from _descendants(child)


def _resolved(target: Run) -> Run:
    def run(this: Any, env: Env) -> Values:
        texts = [v.get("reference") if type(v) is dict else v for v in target(this, env)]
        found = [env.find(text) for text in texts if type(text) is str]
        return [resource for resource in found if resource is not None]

    return run


WALKS: Mapping[str, Callable[[Run], Run]] = {
    "children": lambda target: lambda this, env: [c for v in target(this, env) for c in _children(v)],
    "descendants": lambda target: lambda this, env: [d for v in target(this, env) for d in _descendants(v)],
    "resolve": _resolved,
}
"""Functions that give values of any type."""
