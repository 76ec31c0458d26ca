"""https://hl7.org/fhir/R4/searchparameter-definitions.html#SearchParameter.expression: expressions that yield values.

An expression is compiled for one type, so `value as Quantity` becomes a look-up of "valueQuantity", and each value
comes with its type. `as` filters like `ofType`: the specification uses it so on paths that repeat, although FHIRPath
makes that an error. `search_paths` compiles the common shapes, `compiler` the rest of FHIRPath; fhirpathpy (`adapter`)
evaluates expressions whose values have no type at compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.ast import (
    Expression,
    FunctionCall,
    Indexer,
    Member,
    OperatorExpression,
    TypeExpression,
)
from fhirstore.fhirpath.compiler import compile_expression
from fhirstore.fhirpath.coverage import check_functions
from fhirstore.fhirpath.evaluation import Environment, Unsupported
from fhirstore.fhirpath.parser import parse
from fhirstore.fhirpath.search_paths import ABSTRACT_RESOURCES, build
from fhirstore.fhirpath.search_steps import Extract, ReferenceTypes, TypedValue, json_types
from fhirstore.fhirpath.services import ContainedResources


@dataclass(frozen=True, slots=True)
class SearchExpression:
    """An expression compiled for resources (JSON dicts) of one type.

    extract: resource -> [(FHIR type, JSON value)] in document order; a value that two branches find occurs twice. The
    type of a backbone element is its path ("Patient.contact"), that of a resource its own resourceType. Values whose
    JSON kind contradicts their type are left out (a number as `name`, an object instead of a list), and so are
    primitives without a value. A resource on which the expression fails has no values.
    properties: the JSON properties of the resource, one of which it must have to give a value; None if unknown.
    types: the types that extract can give ("Resource" for any); empty if they are unknown. single: no resource can give
    more than one value. native: fhirpathpy evaluates no branch."""

    extract: Extract
    types: frozenset[str]
    single: bool
    properties: frozenset[str] | None = None
    native: bool = True


@lru_cache(maxsize=8192)  # R4 has 2 217 expressions by type; the registry and the index schema both need them
def compile_search_expression(core: Definitions, base_type: str, expression: str) -> SearchExpression:
    """Compiles the branches of a (union) expression that apply to `base_type`.

    base_type: a resource type. It can also be a data type or a backbone path, for expressions relative to such a value.
    Raises ValueError, which quotes the expression, if it cannot be parsed, names an element or a function that does not
    exist, or has no branch for the type."""
    if core.node(base_type) is None:
        raise ValueError(f"{base_type!r} is not a FHIR type")
    relevant = [b for b in branches(parse(expression)) if applies(core, base_type, b)]
    if not relevant:
        raise ValueError(f"{expression!r}: no part of it applies to {base_type}")
    properties = _properties(core, base_type, relevant)
    try:
        path = build(core, base_type, relevant)
        return SearchExpression(path.extract, path.types, path.single, properties)
    except Unsupported:
        parts = [_compile_branch(core, base_type, b) for b in relevant]
    extracts = [part.extract for part in parts]
    return SearchExpression(
        extract=lambda resource: [value for extract in extracts for value in extract(resource)],
        types=frozenset().union(*(p.types for p in parts)) if all(p.types for p in parts) else frozenset(),
        single=False,
        properties=properties,
        native=all(part.native for part in parts),
    )


def _properties(core: Definitions, base_type: str, branches: list[Expression]) -> frozenset[str] | None:
    """The JSON properties that branches start from, None if one of them can give a value without a property."""
    found: set[str] = set()
    for branch in branches:
        name = _first_element(core, branch)
        node = core.node(base_type)
        keys = [key for key, (element, _) in node.keys.items() if element.name == name] if node else []
        if not keys:
            return None
        found.update(keys, ("_" + key for key in keys))
    return frozenset(found)


def _first_element(core: Definitions, path: Expression) -> str | None:
    """The name of the first element of a path, None for expressions of other shapes."""
    match path:
        case Member(target=None, name=name):
            return name
        case Member(target=Member(target=None, name=head), name=name) if head[:1].isupper() and core.node(head):
            return name
        case (
            Member(target=Expression() as target)
            | Indexer(target=target)
            | TypeExpression(target=target, operator="as")
            | FunctionCall(target=Expression() as target, name="where" | "first" | "extension")
        ):
            return _first_element(core, target)
    return None


def _compile_branch(core: Definitions, base_type: str, branch: Expression) -> SearchExpression:
    check_functions(branch)
    try:
        path = build(core, base_type, [branch])
        return SearchExpression(path.extract, path.types, path.single)
    except Unsupported:
        pass
    try:
        return _general(core, base_type, branch)
    except Unsupported:
        return SearchExpression(_by_library(core, base_type, branch), frozenset(), single=False, native=False)


def _general(core: Definitions, base_type: str, branch: Expression) -> SearchExpression:
    """Raises Unsupported for an expression whose values can be of several types, which JSON does not tell apart."""
    compiled = compile_expression(core, branch, base_type)
    if len(compiled.types) != 1:
        raise Unsupported(branch.text)
    (type_name,) = compiled.types
    evaluate = compiled.evaluate

    def typed(resource: dict[str, Any], env: Environment) -> list[TypedValue]:
        return [(_type_of(value, type_name), value) for value in evaluate(resource, env)]

    return SearchExpression(_extractor(core, typed), compiled.types, single=False)


def _type_of(value: Any, type_name: str) -> str:
    if type_name in ABSTRACT_RESOURCES and type(value) is dict:
        return str(value.get("resourceType"))
    return type_name


def _by_library(core: Definitions, base_type: str, branch: Expression) -> Extract:
    # Imported here because it loads fhirpathpy and its grammar, which most deployments never need.
    from fhirstore.fhirpath.adapter import library_expression

    return _extractor(core, library_expression(core, branch, base_type))


def _extractor(core: Definitions, evaluate: Callable[[dict[str, Any], Environment], list[TypedValue]]) -> Extract:
    resource_types = core.resource_types

    def extract(resource: dict[str, Any]) -> list[TypedValue]:
        env = Environment(resource, resource, resource, ReferenceTypes(ContainedResources(resource), resource_types))
        try:
            found = evaluate(resource, env)
        except Exception:  # fhirpathpy raises plain Exception, and functions fail on values of other types
            return []
        return [typed for typed in found if type(typed[1]) in json_types(typed[0])]

    return extract


def branches(expression: Expression) -> list[Expression]:
    """The operands of a union, in order. Any other expression is its own only branch."""
    if isinstance(expression, OperatorExpression) and expression.operator == "|" and expression.left is not None:
        return [*branches(expression.left), *branches(expression.right)]
    return [expression]


def applies(core: Definitions, base_type: str, expression: Expression) -> bool:
    """Whether `base_type` is covered by the type name at the start of the path. True if the path has none."""
    head: Expression | None = expression
    while True:
        match head:
            case Member(target=None, name=name) if name[:1].isupper() and core.node(name) is not None:
                return core.is_a(base_type, name)
            case (
                Member(target=target)
                | FunctionCall(target=target)
                | Indexer(target=target)
                | TypeExpression(target=target)
            ):
                head = target
            case OperatorExpression(operator=operator, left=left, right=right):
                if operator == "|" and left is not None:
                    return applies(core, base_type, left) or applies(core, base_type, right)
                head = left
            case _:
                return True
