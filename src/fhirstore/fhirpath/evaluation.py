"""http://hl7.org/fhirpath/N1/#expressions: values, environments, and the closures that nearly all expressions use.

Every expression evaluates to a list of JSON values. The list is empty if there is no value. A primitive that has only
an extension evaluates to the object beside it (`_birthDate`). Quantity literals evaluate to `QuantityValue`.

Paths, logic, equality and the functions about existence are here; `type_steps`, `operators` and `functions` have the
rest. Makers take compiled expressions, the target first, and return a compiled expression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

from fhirstore.fhirpath.services import Services
from fhirstore.model.messages import Message

Values = list[Any]
NUMBERS = (int, Decimal, float)
UCUM = "http://unitsofmeasure.org"

YES: Values = [True]
NO: Values = [False]
EMPTY: Values = []


class Unsupported(Exception):
    """The compiler does not support an expression. The adapter of fhirpathpy may."""


class QuantityValue(NamedTuple):
    """A quantity that an expression computes or states. unit: a UCUM code; "1" for a plain number."""

    value: Any
    unit: str


class Environment:
    """https://hl7.org/fhir/R4/fhirpath.html#variables

    context: the value that the whole expression is evaluated on. resource: the resource that contains it. root: the
    resource that contains `resource`, or `resource` itself. index, total: `$index` and `$total`; only functions whose
    argument mentions them set them.

    if_missing: the result of `=`, `is` and `in` if an operand is missing."""

    __slots__ = ("_once", "context", "index", "resource", "root", "services", "total")
    index: int | None
    total: Values
    _once: dict[Evaluate, Values]
    if_missing: ClassVar[Values] = EMPTY

    def __init__(self, context: Any, resource: Any, root: Any, services: Services):
        self.context, self.resource, self.root, self.services = context, resource, root, services

    def once(self, evaluate: Evaluate) -> Values:
        """The values of an expression that does not depend on `$this`, which are computed once."""
        try:
            computed = self._once
        except AttributeError:
            computed = self._once = {}
        if evaluate not in computed:
            computed[evaluate] = evaluate(self.context, self)
        return computed[evaluate]


class DecisiveEnvironment(Environment):
    """An environment for a second evaluation of an invariant whose result is empty: see `predicates.is_violated`."""

    __slots__ = ()
    if_missing = NO


Evaluate = Callable[[Any, Environment], Values]
"""A compiled expression: ($this, environment) -> values. Raises ValueError for what FHIRPath calls an error."""
Predicate = Callable[[Any, Environment], bool | None]
"""(value, environment) -> true, false, None if the result is empty."""


def boolean(values: Values) -> bool | None:
    """The values as a boolean, None if there are none. Raises ValueError if there are several.

    https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections: a single value that is no boolean is true."""
    if not values:
        return None
    if len(values) > 1:
        raise ValueError(Message("expected one boolean, found {count} values", count=len(values)))
    return values[0] is not False


def single(values: Values) -> Any:
    """The only value, None if there is none. Raises ValueError if there are several."""
    if len(values) > 1:
        raise ValueError(Message("expected one value, found {count}", count=len(values)))
    return values[0] if values else None


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same; true is not 1."""
    if type(one) is str:
        return bool(one == other)
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(equal(v, other[k]) for k, v in one.items())
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(equal, one, other))
    if type(one) is QuantityValue or type(other) is QuantityValue:
        first, second = as_quantity(one), as_quantity(other)
        return first is not None and first == second
    return (type(one) is bool) is (type(other) is bool) and bool(one == other)


def distinct(values: Iterable[Any]) -> Values:
    """Each value once, in order."""
    values = list(values)
    if set(map(type, values)) == {str}:
        return list(dict.fromkeys(values))
    seen = DistinctValues()
    return [value for value in values if seen.add(value)]


class DistinctValues:
    """Values without duplicates. A look-up takes constant time, except among quantities that expressions compute."""

    __slots__ = ("_identities", "_quantities", "_values")

    def __init__(self, values: Iterable[Any] = ()):
        self._identities: set[Any] = set()
        self._values: Values = []
        self._quantities = False
        for value in values:
            self.add(value)

    def __contains__(self, value: Any) -> bool:
        if type(value) is QuantityValue or self._quantities:
            return any(equal(value, other) for other in self._values)
        return identity(value) in self._identities

    def add(self, value: Any) -> bool:
        """Returns whether the value is new."""
        if value in self:
            return False
        self._values.append(value)
        if type(value) is QuantityValue:
            self._quantities = True
        else:
            self._identities.add(identity(value))
        return True


def identity(value: Any) -> Any:
    """A hashable value that is the same for equal JSON values."""
    kind = type(value)
    if kind is dict:
        return dict, frozenset((name, identity(item)) for name, item in value.items())
    if kind is list:
        return list, tuple(map(identity, value))
    return (bool, value) if kind is bool else value


def as_quantity(value: Any) -> QuantityValue | None:
    """A Quantity in JSON, or a number, as a value with a unit. None for everything else."""
    if type(value) is QuantityValue:
        return value
    if type(value) in NUMBERS:
        return QuantityValue(value, "1")
    if type(value) is dict and type(value.get("value")) in NUMBERS:
        unit = value.get("code") or value.get("unit") or "1"
        return QuantityValue(value["value"], str(unit))
    return None


# --- variables, literals and paths --------------------------------------------------------------------


ENVIRONMENT_VARIABLES: Mapping[str, Evaluate] = {
    "$index": lambda this, env: [env.index],
    "$total": lambda this, env: env.total,
    "%context": lambda this, env: [env.context],
    "%resource": lambda this, env: [env.resource],
    "%rootResource": lambda this, env: [env.root],
}


def constant(value: Any) -> Evaluate:
    """A literal."""
    values = [value]
    return lambda this, env: values


def once(evaluate: Evaluate) -> Evaluate:
    """An expression that depends on the environment alone, inside a function that evaluates its argument for each
    value."""
    return lambda this, env: env.once(evaluate)


def predicate(evaluate: Evaluate) -> Predicate:
    """An expression as a boolean."""
    return lambda value, env: boolean(evaluate(value, env))


def this(value: Any, env: Environment) -> Values:
    """`$this`"""
    return [value] if value is not None else []


def property_of_this(key: str) -> Evaluate:
    """The values of a JSON property of `$this`."""
    sibling_key = "_" + key

    def run(this: Any, env: Environment) -> Values:
        if type(this) is not dict:
            return EMPTY
        found = this.get(key)
        if found is None:
            return objects(this[sibling_key]) if sibling_key in this else EMPTY
        if type(found) is list:
            return found if None not in found else _filled(found, this.get(sibling_key))
        return [found]

    return run


def choice_of_this(keys: tuple[str, ...]) -> Evaluate:
    """The value of whichever of these properties is present (`value[x]`)."""
    names = {name: None for key in keys for name in (key, "_" + key)}

    def run(this: Any, env: Environment) -> Values:
        if type(this) is dict:
            for name, found in this.items():
                if name in names:
                    return found if type(found) is list else [found]
        return EMPTY

    return run


def step(target: Evaluate, of_this: Evaluate) -> Evaluate:
    """A path: `of_this` for each value of the target."""
    if target is this:
        return of_this

    def run(this: Any, env: Environment) -> Values:
        out: Values = []
        for value in target(this, env):
            out += of_this(value, env)
        return out

    return run


def objects(sibling: Any) -> Values:
    return [s for s in sibling if s is not None] if type(sibling) is list else [sibling]


def _filled(values: Values, siblings: Any) -> Values:
    """An array of primitives. A null stands for a primitive that has only an extension."""
    others = siblings if type(siblings) is list else []
    both = [v if v is not None or i >= len(others) else others[i] for i, v in enumerate(values)]
    return [v for v in both if v is not None]


def nth(target: Evaluate, index: int) -> Evaluate:
    """`target[index]` with a literal index."""

    def run(this: Any, env: Environment) -> Values:
        return target(this, env)[index : index + 1]

    return run


# --- logic and equality -------------------------------------------------------------------------------


def and_(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = boolean(left(this, env))
        if one is False:
            return NO
        other = boolean(right(this, env))
        return NO if other is False else YES if one and other else EMPTY

    return run


def or_(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = boolean(left(this, env))
        if one:
            return YES
        other = boolean(right(this, env))
        return YES if other else NO if one is False and other is False else EMPTY

    return run


def xor(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one, other = boolean(left(this, env)), boolean(right(this, env))
        return EMPTY if one is None or other is None else [one is not other]

    return run


def implies(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = boolean(left(this, env))
        if one is False:
            return YES
        other = boolean(right(this, env))
        return YES if other else EMPTY if one is None or other is None else NO

    return run


def equals(expected: bool) -> Callable[[Evaluate, Evaluate], Evaluate]:
    def make(left: Evaluate, right: Evaluate) -> Evaluate:
        def run(this: Any, env: Environment) -> Values:
            one, other = left(this, env), right(this, env)
            if not one or not other:
                return env.if_missing if expected and (one or other) else EMPTY
            same = len(one) == len(other) and all(map(equal, one, other))
            return YES if same is expected else NO

        return run

    return make


def in_(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        one = left(this, env)
        if not one:
            return env.if_missing
        value = single(one)
        return [any(equal(value, other) for other in right(this, env))]

    return run


def union(left: Evaluate, right: Evaluate) -> Evaluate:
    """`|`: the values of both operands, each once."""
    return lambda this, env: distinct([*left(this, env), *right(this, env)])


# --- functions ----------------------------------------------------------------------------------------


def where(target: Evaluate, test: Evaluate) -> Evaluate:
    return lambda this, env: [v for v in target(this, env) if boolean(test(v, env))]


def select(target: Evaluate, projection: Evaluate) -> Evaluate:
    return lambda this, env: [found for v in target(this, env) for found in projection(v, env)]


def all_(target: Evaluate, test: Evaluate) -> Evaluate:
    return lambda this, env: [all(boolean(test(v, env)) for v in target(this, env))]


def exists_where(target: Evaluate, test: Evaluate) -> Evaluate:
    return lambda this, env: [any(boolean(test(v, env)) for v in target(this, env))]


def exists(target: Evaluate) -> Evaluate:
    return lambda this, env: YES if target(this, env) else NO


def empty(target: Evaluate) -> Evaluate:
    return lambda this, env: NO if target(this, env) else YES


def count(target: Evaluate) -> Evaluate:
    return lambda this, env: [len(target(this, env))]


def not_(target: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        value = boolean(target(this, env))
        return EMPTY if value is None else NO if value else YES

    return run


def has_value(target: Evaluate) -> Evaluate:
    def run(this: Any, env: Environment) -> Values:
        values = target(this, env)
        return [len(values) == 1 and type(values[0]) is not dict]

    return run
