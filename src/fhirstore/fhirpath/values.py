"""http://hl7.org/fhirpath/N1/#expressions: the values of compiled expressions and the environment of an evaluation.

Every expression evaluates to a list of JSON values. The list is empty if there is no value. A primitive that has only
an extension evaluates to the object beside it (`_birthDate`). Quantity literals evaluate to `QuantityValue`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, Protocol

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


class Services(Protocol):
    """What an evaluation needs beyond the resource itself."""

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        """The target of a Reference (a dict) or of a canonical or URI (a str). None if it is not available."""

    def member_of(self, value: Any, value_set: str) -> bool:
        """Whether a code, Coding or CodeableConcept is in a value set. Raises ValueError if that cannot be decided."""

    def conforms_to(self, value: Any, profile: str) -> bool:
        """Whether a value conforms to a profile. Raises ValueError if that cannot be decided."""


class NoServices:
    """Services of an evaluation that sees one resource and nothing else."""

    __slots__ = ()

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        return None

    def member_of(self, value: Any, value_set: str) -> bool:
        raise ValueError(Message("memberOf('{value_set}'): no terminology is available here", value_set=value_set))

    def conforms_to(self, value: Any, profile: str) -> bool:
        raise ValueError(Message("conformsTo('{profile}'): no profiles are available here", profile=profile))


class Environment:
    """https://hl7.org/fhir/R4/fhirpath.html#variables

    context: the value that the whole expression is evaluated on. resource: the resource that contains it. root: the
    resource that contains `resource`, or `resource` itself. index, total: `$index` and `$total`; only functions whose
    argument mentions them set them.

    if_missing: the result of `=`, `is` and `in` if an operand is missing."""

    __slots__ = ("context", "index", "resource", "root", "services", "total")
    index: int | None
    total: Values
    if_missing: ClassVar[Values] = EMPTY

    def __init__(self, context: Any, resource: Any, root: Any, services: Services):
        self.context, self.resource, self.root, self.services = context, resource, root, services


class DecisiveEnvironment(Environment):
    """An environment for a second evaluation of an invariant whose result is empty: see `predicates.is_violated`."""

    __slots__ = ()
    if_missing = NO


Evaluate = Callable[[Any, Environment], Values]
"""A compiled expression: ($this, environment) -> values. Raises ValueError for what FHIRPath calls an error."""


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
    out: Values = []
    seen: set[Any] = set()
    for value in values:
        if type(value) is str:
            if value not in seen:
                seen.add(value)
                out.append(value)
        elif not any(equal(value, other) for other in out):
            out.append(value)
    return out


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
