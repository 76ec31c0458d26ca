"""https://hl7.org/fhirpath/N1/#functions: tables of all functions, and the functions of collections as closures.

`evaluation` has those that most expressions use, `scalars` those of single values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from fhirstore.fhirpath import scalars
from fhirstore.fhirpath.evaluation import (
    EMPTY,
    NO,
    YES,
    DistinctValues,
    Environment,
    Evaluate,
    Values,
    all_,
    boolean,
    count,
    distinct,
    empty,
    exists,
    exists_where,
    has_value,
    not_,
    select,
    single,
    union,
    where,
)
from fhirstore.formats.patterns import compile_pattern
from fhirstore.model.messages import Message

MAX_VALUES = 1_000_000
"""The maximum number of values in a result of combine()."""
SAME = "the types of the target and of the arguments"
ANY = "any type"


class Function(NamedTuple):
    """make: (target, *arguments) -> compiled expression. result: a FHIR type, SAME or ANY. least, most: how many
    arguments it takes."""

    make: Callable[..., Evaluate]
    result: str
    least: int = 0
    most: int = 0


# --- functions that evaluate their argument for each value -------------------------------------------


def _repeat(target: Evaluate, projection: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        found: Values = []
        seen = DistinctValues()
        waiting = target(this, env)
        while waiting:
            waiting = [v for w in waiting for v in projection(w, env) if seen.add(v)]
            found += waiting
        return found

    return run


LAMBDAS: Mapping[str, Callable[[Evaluate, Evaluate], Evaluate]] = {
    "where": where,
    "select": select,
    "all": all_,
    "exists": exists_where,
    "repeat": _repeat,
}


def indexed(make: Callable[[Evaluate, Evaluate], Evaluate]) -> Callable[[Evaluate, Evaluate], Evaluate]:
    """The maker of a function whose argument mentions `$index`."""

    def make_indexed(target: Evaluate, argument: Evaluate) -> Evaluate:
        def run(this: Any, env: Environment) -> Values:
            outer = getattr(env, "index", None)
            position = iter(range(10**9))

            def counted(value: Any, env: Environment) -> Values:
                env.index = next(position)
                return argument(value, env)

            try:
                return make(target, counted)(this, env)
            finally:
                env.index = outer

        return run

    return make_indexed


def aggregate(target: Evaluate, aggregator: Evaluate, start: Evaluate | None) -> Evaluate:
    """https://hl7.org/fhirpath/N1/#aggregateaggregator-expression-init-value-value"""

    def run(this: Any, env: Environment) -> Values:
        outer = getattr(env, "index", None), getattr(env, "total", EMPTY)
        total = start(this, env) if start is not None else EMPTY
        for index, value in enumerate(target(this, env)):
            env.index, env.total = index, total
            total = aggregator(value, env)
        env.index, env.total = outer
        return total

    return run


def iif(target: Evaluate, criterion: Evaluate, true: Evaluate, false: Evaluate | None) -> Evaluate:
    """https://hl7.org/fhirpath/N1/#iifcriterion-expression-true-result-collection-otherwise-result-collection-collection

    The arguments see the single value of the target as `$this`, nothing if there are none or several."""

    def run(this: Any, env: Environment) -> Values:
        values = target(this, env)
        value = values[0] if len(values) == 1 else None
        if boolean(criterion(value, env)):
            return true(value, env)
        return false(value, env) if false is not None else EMPTY

    return run


# --- functions of collections ------------------------------------------------------------------------


def _of_values(function: Callable[..., Values]) -> Callable[..., Evaluate]:
    """A function of all values of the target, and of the single value of each argument."""

    def make(target: Evaluate, *arguments: Evaluate) -> Evaluate:
        if not arguments:
            return lambda this, env: function(target(this, env))
        if len(arguments) == 1:
            (argument,) = arguments
            return lambda this, env: function(target(this, env), single(argument(this, env)))

        def run(this: Any, env: Environment) -> Values:
            return function(target(this, env), *(single(a(this, env)) for a in arguments))

        return run

    return make


def _of_collections(function: Callable[..., Values]) -> Callable[..., Evaluate]:
    """A function of all values of the target and of all values of one argument."""
    return lambda target, other: lambda this, env: function(target(this, env), other(this, env))


def _contains_all(values: Values, others: Values) -> bool:
    known = DistinctValues(values)
    return all(value in known for value in others)


def _exactly_one(values: Values) -> Values:
    single(values)
    return values


def _combine(values: Values, others: Values) -> Values:
    if len(values) + len(others) > MAX_VALUES:
        raise ValueError(Message("combine() gives at most {limit} values", limit=MAX_VALUES))
    return [*values, *others]


def _intersect(values: Values, others: Values) -> Values:
    known = DistinctValues(others)
    return distinct(v for v in values if v in known)


def _exclude(values: Values, others: Values) -> Values:
    known = DistinctValues(others)
    return [v for v in values if v not in known]


def _skip(values: Values, number: Any) -> Values:
    return values[max(0, number) :]


def _take(values: Values, number: Any) -> Values:
    return values[: max(0, number)]


def _get_value(values: Values) -> Values:
    return values if len(values) == 1 and type(values[0]) is not dict else EMPTY


def _children(value: Any) -> Iterator[Any]:
    if type(value) is dict:
        for key, item in value.items():
            if key != "resourceType" and not key.startswith("_"):
                yield from item if type(item) is list else (item,)


def _descendants(value: Any) -> Iterator[Any]:
    for child in _children(value):
        yield child
        yield from _descendants(child)


# --- functions of FHIR -------------------------------------------------------------------------------


def _resolve(target: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        found = map(env.services.resolve, target(this, env))
        return [resource for resource in found if resource is not None]

    return run


def _member_of(target: Evaluate, value_set: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        value, url = single(target(this, env)), single(value_set(this, env))
        return EMPTY if value is None or url is None else [env.services.member_of(value, url)]

    return run


def _conforms_to(target: Evaluate, profile: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        value, url = single(target(this, env)), single(profile(this, env))
        return EMPTY if value is None or url is None else [env.services.conforms_to(value, url)]

    return run


def _now(text: Callable[[], str]) -> Callable[[Evaluate], Evaluate]:
    return lambda target: lambda this, env: [text()]


def matches_literal(target: Evaluate, pattern: str) -> Evaluate:
    """`matches('…')` with a literal pattern, which is compiled once."""
    find = compile_pattern(pattern).search

    def run(this: Any, env: Environment) -> Values:
        text = scalars.string(target(this, env), "matches()")
        return EMPTY if text is None else YES if find(text) is not None else NO

    return run


def _trace(target: Evaluate, *ignored: Evaluate) -> Evaluate:
    return target


_COLLECTIONS: Mapping[str, Function] = {
    "exists": Function(exists, "boolean"),
    "empty": Function(empty, "boolean"),
    "not": Function(not_, "boolean"),
    "count": Function(count, "integer"),
    "isDistinct": Function(_of_values(lambda values: [len(distinct(values)) == len(values)]), "boolean"),
    "allTrue": Function(_of_values(lambda values: [all(v is True for v in values)]), "boolean"),
    "anyTrue": Function(_of_values(lambda values: [any(v is True for v in values)]), "boolean"),
    "allFalse": Function(_of_values(lambda values: [all(v is False for v in values)]), "boolean"),
    "anyFalse": Function(_of_values(lambda values: [any(v is False for v in values)]), "boolean"),
    "subsetOf": Function(_of_collections(lambda values, others: [_contains_all(others, values)]), "boolean", 1, 1),
    "supersetOf": Function(_of_collections(lambda values, others: [_contains_all(values, others)]), "boolean", 1, 1),
    "single": Function(_of_values(_exactly_one), SAME),
    "first": Function(_of_values(lambda values: values[:1]), SAME),
    "last": Function(_of_values(lambda values: values[-1:]), SAME),
    "tail": Function(_of_values(lambda values: values[1:]), SAME),
    "skip": Function(_of_values(_skip), SAME, 1, 1),
    "take": Function(_of_values(_take), SAME, 1, 1),
    "distinct": Function(_of_values(distinct), SAME),
    "combine": Function(_of_collections(_combine), SAME, 1, 1),
    "union": Function(union, SAME, 1, 1),
    "intersect": Function(_of_collections(_intersect), SAME, 1, 1),
    "exclude": Function(_of_collections(_exclude), SAME, 1, 1),
    "children": Function(_of_values(lambda values: [c for v in values for c in _children(v)]), ANY),
    "descendants": Function(_of_values(lambda values: [d for v in values for d in _descendants(v)]), ANY),
    "trace": Function(_trace, SAME, 1, 2),
    "today": Function(_now(scalars.today), "date"),
    "now": Function(_now(scalars.now), "dateTime"),
    "timeOfDay": Function(_now(scalars.time_of_day), "time"),
}

_FHIR: Mapping[str, Function] = {
    "hasValue": Function(has_value, "boolean"),
    "getValue": Function(_of_values(_get_value), SAME),
    "resolve": Function(_resolve, ANY),
    "memberOf": Function(_member_of, "boolean", 1, 1),
    "conformsTo": Function(_conforms_to, "boolean", 1, 1),
}

FUNCTIONS: Mapping[str, Function] = {
    **_COLLECTIONS,
    **_FHIR,
    **{
        name: Function(_of_values(function), result, least, most)
        for name, (function, result, least, most) in scalars.FUNCTIONS.items()
    },
}
"""All functions except those that the compiler makes itself (`compiler`): their arguments are types or see `$this`."""
