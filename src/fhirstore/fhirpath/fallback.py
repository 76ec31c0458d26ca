"""Expressions that the closures do not cover, evaluated by the library fhirpathpy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import fhirpathpy
import fhirpathpy.parser
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.nodes import FP_DateTime, FP_Time, ResourceNode
from fhirpathpy.models import models

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath.parse import Call, Expression
from fhirstore.fhirpath.references import contained, target_type
from fhirstore.fhirpath.steps import Typed, json_types

# These carry no type annotations of their own.
_parse: Callable[[str], Any] = fhirpathpy.parser.parse
_evaluate: Callable[..., list[Any]] = fhirpathpy.apply_parsed_path
_node: Callable[..., Any] = ResourceNode.create_node

# fhirpathpy matches the type in front of a path by name alone: `Resource.meta` finds nothing on a Patient.
_ABSTRACT_HEAD = re.compile(r"'(?:[^'\\]|\\.)*'|(?<![.\w])(?:Domain)?Resource(?=\s*\.)", re.DOTALL)
_COMPUTED: dict[type, str] = {bool: "boolean", int: "integer", float: "decimal", Decimal: "decimal", str: "string"}


def fallback(core: Definitions, base_type: str, expression: Expression) -> Callable[[dict[str, Any]], list[Typed]]:
    """What `Compiled.extract` does, by way of fhirpathpy. A resource on which the expression fails (a function that
    wants one value is given two) has no values.

    Raises ValueError for a function that does not exist. `resolve()` finds contained resources; of others it
    knows the type alone."""
    for call in _calls(expression):
        if call.name not in invocation_registry and call.name != "resolve":
            raise ValueError(f"{expression.text!r}: there is no function {call.name}()")
    text = _ABSTRACT_HEAD.sub(lambda m: m.group() if m.group().startswith("'") else base_type, expression.text)
    tree = _parse(text)
    model = models["r4"]
    is_resource = base_type in core.resource_types

    def extract(resource: dict[str, Any]) -> list[Typed]:
        table = {"resolve": {"fn": lambda values: _resolve(values, resource, core), "arity": {0: []}}}
        options = {"returnRawData": True, "traceFn": _silent, "userInvocationTable": table}
        start = resource if is_resource else _node(resource, base_type)
        try:
            found = _evaluate(start, tree, {"resource": resource}, model, options)
        except Exception:  # fhirpathpy raises plain Exception, and whatever else its functions run into
            return []
        typed = (_typed(item) for item in found)
        return [t for t in typed if t is not None and type(t[1]) in json_types(t[0])]

    return extract


def _resolve(values: list[Any], root: dict[str, Any], core: Definitions) -> list[Any]:
    found = []
    for value in values:
        text = value.get("reference") if isinstance(value, dict) else value
        if isinstance(text, str) and text.startswith("#"):
            resource = contained(text[1:], root)
        else:
            named = target_type(value, root, core.resource_types)
            resource = {"resourceType": named} if named else None
        if resource is not None:
            found.append(_node(resource))
    return found


def _typed(item: Any) -> Typed | None:
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


def _calls(expression: Any) -> Iterator[Call]:
    if isinstance(expression, tuple):
        for part in expression:
            yield from _calls(part)
    elif isinstance(expression, Expression):
        if isinstance(expression, Call):
            yield expression
        for field in dataclasses.fields(expression):
            yield from _calls(getattr(expression, field.name))


def _silent(value: Any, label: str) -> None:
    """trace() of an expression goes nowhere."""
