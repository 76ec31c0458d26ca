"""The adapter of the library fhirpathpy, for the expressions that `compiler` does not support.

It is about seventy times slower than a closure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import fhirpathpy
import fhirpathpy.parser
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.nodes import FP_DateTime, FP_Time, ResourceNode
from fhirpathpy.models import models

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.ast import Expression, FunctionCall, descend
from fhirstore.fhirpath.evaluation import Environment, Predicate
from fhirstore.fhirpath.scalars import FUNCTIONS
from fhirstore.fhirpath.search_steps import TypedValue

TypedEvaluate = Callable[[Any, Environment], list[TypedValue]]

# These functions have no type annotations.
_parse: Callable[[str], Any] = fhirpathpy.parser.parse
_evaluate: Callable[..., list[Any]] = fhirpathpy.apply_parsed_path
_node: Callable[..., Any] = ResourceNode.create_node

_OURS = frozenset({"resolve", "memberOf", "conformsTo", "hasValue"})
_EACH = frozenset({"where", "select", "all", "exists", "repeat", "aggregate"})
"""Functions whose argument is evaluated for each value, as `$this`."""
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|\$this\b|\w+\s*\(|[()]|[^'`$()\w]+|\w+|.", re.DOTALL)
_ABSTRACT_HEAD = re.compile(r"'(?:[^'\\]|\\.)*'|(?<![.\w])(?:Domain)?Resource(?=\s*\.)", re.DOTALL)
_COMPUTED: dict[type, str] = {bool: "boolean", int: "integer", float: "decimal", Decimal: "decimal", str: "string"}


def library_expression(core: Definitions, expression: Expression, base_type: str) -> TypedEvaluate:
    """(value, environment) -> (FHIR type, JSON value) of each result. base_type: the type or backbone of the value.

    The function raises any exception if the evaluation fails: fhirpathpy raises plain Exception. Raises ValueError for
    a function that the library does not have."""
    for call in descend(expression):
        if isinstance(call, FunctionCall) and call.name not in invocation_registry and call.name not in _OURS:
            raise ValueError(f"{expression.text!r}: the function {call.name}() is not supported here")
    tree = _parse(_for_library(expression.text, base_type))
    model = models["r4"]
    is_resource = base_type in core.resource_types

    def evaluate(value: Any, env: Environment) -> list[TypedValue]:
        options = {"returnRawData": True, "traceFn": _ignore, "userInvocationTable": _functions(env)}
        start = value if is_resource else _node(value, base_type)
        variables = {
            "context": _node(env.context, base_type),
            "resource": _node(env.resource),
            "rootResource": _node(env.root),
        }
        typed = (_typed(item) for item in _evaluate(start, tree, variables, model, options))
        return [t for t in typed if t is not None]

    return evaluate


def library_predicate(core: Definitions, expression: Expression, path: str) -> Predicate:
    """See `predicates.compile_predicate`. A single value that is no boolean counts as true."""
    evaluate = library_expression(core, expression, path)

    def predicate(value: Any, env: Environment) -> bool | None:
        found = evaluate(value, env)
        return all(v is not False for _, v in found) if found else None

    return predicate


def _for_library(text: str, base_type: str) -> str:
    """Works around two limits. fhirpathpy compares the type at the start of a path by name, so `Resource.meta` finds
    nothing on a Patient. It knows `$this` outside of a function only by the name %context."""
    text = _ABSTRACT_HEAD.sub(lambda m: m.group() if m.group().startswith("'") else base_type, text)
    out: list[str] = []
    functions: list[bool] = []
    for token in _TOKEN.findall(text):
        if token.endswith("("):
            functions.append(token[:-1].strip() in _EACH)
        elif token == ")" and functions:
            functions.pop()
        out.append("%context" if token == "$this" and not any(functions) else token)
    return "".join(out)


def _functions(env: Environment) -> dict[str, Any]:
    """FHIR's own functions. Their arguments are raw data."""
    services = env.services

    def resolve(values: list[Any]) -> list[Any]:
        return [_node(resource) for resource in map(services.resolve, values) if resource is not None]

    def has_value(values: list[Any]) -> list[bool]:
        return [len(values) == 1 and values[0] is not None and type(values[0]) is not dict]

    return {
        "resolve": {"fn": resolve, "arity": {0: []}},
        "memberOf": {"fn": lambda values, url: [services.member_of(v, url) for v in values], "arity": {1: ["String"]}},
        "conformsTo": {
            "fn": lambda values, url: [services.conforms_to(v, url) for v in values],
            "arity": {1: ["String"]},
        },
        "hasValue": {"fn": has_value, "arity": {0: []}},
        # The library uses `re`, which can take exponential time.
        "matches": {"fn": FUNCTIONS["matches"][0], "arity": {1: ["String"]}},
        "replaceMatches": {"fn": FUNCTIONS["replaceMatches"][0], "arity": {2: ["String", "String"]}},
    }


def _typed(item: Any) -> TypedValue | None:
    if isinstance(item, ResourceNode):
        path = item.path or ""
        if path.startswith("System."):
            name = path.removeprefix("System.")
            return name[0].lower() + name[1:], item.data
        return path, item.data
    if isinstance(item, FP_DateTime | FP_Time):
        return "time" if isinstance(item, FP_Time) else "dateTime", str(item)
    name = _COMPUTED.get(type(item), "")
    return (name, item) if name else None


def _ignore(value: Any, label: str) -> None:
    """The output of trace() is discarded."""
