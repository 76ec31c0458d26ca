"""https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression: expressions -> closures.

An expression is compiled for one type. The structure tables tell the type of every step, so that `value as Quantity`
becomes a look-up of "valueQuantity" and each value found comes with its type. `as` filters, like `ofType`: so the
specification uses it, on paths that repeat, where FHIRPath itself would have it fail. What the closures do not cover
runs on fhirpathpy (`fallback`), about seventy times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.native import Unsupported, build
from fhirstore.fhirpath.parse import Call, Expression, Index, Name, Operation, TypeTest, parse
from fhirstore.fhirpath.steps import Typed


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression, ready to run on resources (JSON dicts) of one type.

    extract: resource -> [(FHIR type, JSON value)] in document order, a value found by two branches twice. A backbone
    element's type is its path ("Patient.contact"), a resource's the one it names. Values whose JSON kind contradicts
    their type are left out (a number as `name`, one object where a list belongs), so are primitives without a value.
    types: the types extract can give ("Resource" for any); empty = it cannot be told beforehand. single: no resource
    can give more than one value. native: no branch runs on fhirpathpy."""

    extract: Callable[[dict[str, Any]], list[Typed]]
    types: frozenset[str]
    single: bool
    native: bool = True


@lru_cache(maxsize=8192)  # R4 has 2 217 expressions by type; the registry and the index schema both need them
def compile_expression(core: Definitions, base_type: str, expression: str) -> Compiled:
    """Compiles the branches of a (union) expression that apply to `base_type`.

    base_type: a resource type; also a data type or a backbone path, for expressions relative to such a value.
    Raises ValueError, which quotes the expression, when it cannot be parsed, names an element that does not exist, or
    has no branch for the type."""
    if core.node(base_type) is None:
        raise ValueError(f"{base_type!r} is no FHIR type")
    relevant = [b for b in branches(parse(expression)) if applies(core, base_type, b)]
    if not relevant:
        raise ValueError(f"{expression!r}: no part of it applies to {base_type}")
    try:
        made = build(core, base_type, relevant)
        return Compiled(made.extract, made.types, made.single)
    except Unsupported:
        extracts = [_extract(core, base_type, b) for b in relevant]
        return Compiled(
            extract=lambda resource: [value for extract in extracts for value in extract(resource)],
            types=frozenset(),
            single=False,
            native=False,
        )


def _extract(core: Definitions, base_type: str, branch: Expression) -> Callable[[dict[str, Any]], list[Typed]]:
    try:
        return build(core, base_type, [branch]).extract
    except Unsupported:
        # Imported here: it loads fhirpathpy and its grammar, which most deployments never need.
        from fhirstore.fhirpath.fallback import fallback

        return fallback(core, base_type, branch)


def branches(expression: Expression) -> list[Expression]:
    """The parts of a union, in order; an expression that is none is its own only part."""
    if isinstance(expression, Operation) and expression.operator == "|" and expression.left is not None:
        return [*branches(expression.left), *branches(expression.right)]
    return [expression]


def applies(core: Definitions, base_type: str, expression: Expression) -> bool:
    """Whether the type name in front of the path, if there is one, covers base_type."""
    head: Expression | None = expression
    while True:
        match head:
            case Name(target=None, name=name) if name[:1].isupper() and core.node(name) is not None:
                return core.is_a(base_type, name)
            case Name(target=inner) | Call(target=inner) | Index(target=inner) | TypeTest(target=inner):
                head = inner
            case Operation(operator=operator, left=left, right=right):
                if operator == "|" and left is not None:
                    return applies(core, base_type, left) or applies(core, base_type, right)
                head = left
            case _:
                return True
