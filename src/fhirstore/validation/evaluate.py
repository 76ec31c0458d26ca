"""https://hl7.org/fhir/R4/fhirpath.html: invariants, evaluated by the library fhirpathpy with FHIR's own functions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import fhirpathpy
import fhirpathpy.parser
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from fhirstore.fhirpath.parse import Call, Expression, parse
from fhirstore.validation.coded import coded
from fhirstore.validation.scope import Scope

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository

# These carry no type annotations of their own.
_parse: Callable[[str], Any] = fhirpathpy.parser.parse
_run: Callable[..., list[Any]] = fhirpathpy.apply_parsed_path
_node: Callable[..., Any] = ResourceNode.create_node

_OF_FHIR = frozenset({"resolve", "memberOf", "conformsTo", "hasValue"})
_EACH = frozenset({"where", "select", "all", "exists", "repeat", "aggregate"})
"""Functions whose argument is evaluated for each item, as `$this`."""
_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|`[^`]*`|\$this\b|\w+\s*\(|[()]|[^'`$()\w]+|\w+|.", re.DOTALL)


def compile_truth(structures: ProfileRepository, expression: str, path: str) -> Callable[[Any, Scope], bool]:
    """Whether an expression is true for a value of the type or backbone `path`; an empty result is not true.

    The function raises what the library raises when the expression fails on a value. Raises ValueError when the
    expression cannot be parsed or calls a function that does not exist."""
    for call in _calls(parse(expression)):  # the library's own parser guesses where the text is wrong
        if call.name not in invocation_registry and call.name not in _OF_FHIR:
            raise ValueError(f"there is no function {call.name}()")
    tree = _parse(_with_context(expression))
    model = models["r4"]

    def truth(value: Any, scope: Scope) -> bool:
        table = {
            "resolve": {"fn": lambda values: _resolve(values, scope), "arity": {0: []}},
            "memberOf": {"fn": lambda values, url: _member_of(values, url, scope), "arity": {1: ["String"]}},
            "conformsTo": {
                "fn": lambda values, url: [structures.conforms(v, url, scope) for v in values if type(v) is dict],
                "arity": {1: ["String"]},
            },
            "hasValue": {
                "fn": lambda values: [len(values) == 1 and values[0] is not None and type(values[0]) is not dict],
                "arity": {0: []},
            },
        }
        start = _node(value, path)
        environment = {"context": start, "resource": _node(scope.resource), "rootResource": _node(scope.root)}
        options = {"returnRawData": True, "traceFn": _silent, "userInvocationTable": table}
        found = [v.data if isinstance(v, ResourceNode) else v for v in _run(start, tree, environment, model, options)]
        # one value that is no boolean counts as true: https://hl7.org/fhirpath/N1/#singleton-evaluation-of-collections
        return bool(found) and all(v is not False for v in found)

    return truth


def _with_context(expression: str) -> str:
    """`$this` outside of any function is the value itself, which the library knows by the name %context only."""
    out: list[str] = []
    inside: list[bool] = []
    for token in _TOKEN.findall(expression):
        if token.endswith("("):
            inside.append(token[:-1].strip() in _EACH)
        elif token == ")" and inside:
            inside.pop()
        out.append("%context" if token == "$this" and not any(inside) else token)
    return "".join(out)


def _calls(expression: Any) -> Iterator[Call]:
    if isinstance(expression, tuple):
        for part in expression:
            yield from _calls(part)
    elif isinstance(expression, Expression):
        if isinstance(expression, Call):
            yield expression
        for field in dataclasses.fields(expression):
            yield from _calls(getattr(expression, field.name))


def _resolve(values: list[Any], scope: Scope) -> list[Any]:
    texts = [v.get("reference") if type(v) is dict else v for v in values]
    found = [scope.resolve(text)[1] for text in texts if type(text) is str]
    return [_node(resource) for resource in found if resource is not None]


def _member_of(values: list[Any], url: str, scope: Scope) -> list[bool]:
    test = scope.terms.value_set(url).membership
    verdicts = [test(system, code) for value in values for system, code in _codings(value)]
    unsure = [v for v in verdicts if type(v) is str]
    if unsure and True not in verdicts:
        raise ValueError(unsure[0])
    return [True in verdicts] if values else []


def _codings(value: Any) -> list[tuple[str | None, str]]:
    kind = "string" if type(value) is not dict else "CodeableConcept" if "coding" in value else "Coding"
    return coded(value, kind) or []


def _silent(value: Any, label: str) -> None:
    """trace() of an expression goes nowhere."""
