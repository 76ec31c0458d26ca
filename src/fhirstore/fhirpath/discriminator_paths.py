"""https://hl7.org/fhir/R4/profiling.html#discriminator: the simple subset of FHIRPath that discriminators use.

A discriminator is evaluated on values whose FHIR type is known only at run time (the JSON property of a choice, the
resourceType), so its steps return each value with its type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fhirstore.fhirpath import ast
from fhirstore.fhirpath.parser import parse

FoundValue = tuple[Any, str]
"""(value, FHIR type); the type is empty if the JSON does not tell it."""
Resolve = Callable[[Any], Any]
"""Reference -> its target, None if it is not available."""


class DiscriminatorStep(NamedTuple):
    """kind: name | extension | resolve | ofType. argument: the element, URL or type; empty for resolve."""

    kind: str
    argument: str = ""


DiscriminatorPath = list[DiscriminatorStep]

# Packages write extension(url) with other quotes or without, and value[x] for a choice.
_EXTENSION = re.compile(r"extension\(\s*+[\"']?([^'\"()]*+)[\"']?\s*+\)")


def parse_discriminator(text: str) -> DiscriminatorPath | None:
    """The steps of a discriminator's path. None if it is not in the subset allowed there."""
    if not text.strip():
        return []
    try:
        expression = parse(_EXTENSION.sub(r"extension('\1')", text.replace("[x]", "")))
    except ValueError:
        return None
    steps: DiscriminatorPath = []
    target: ast.Expression | None = expression
    while target is not None:
        match target:
            case ast.Variable(name="$this"):
                break
            case ast.Member(target=target, name=name):
                steps.append(DiscriminatorStep("name", name))
            case ast.FunctionCall(target=target, name="extension", arguments=(ast.Literal(value=str() as url),)):
                steps.append(DiscriminatorStep("extension", url))
            case ast.FunctionCall(target=target, name="resolve", arguments=()):
                steps.append(DiscriminatorStep("resolve"))
            case ast.TypeExpression(target=target, operator="as", type=type_name):
                steps.append(DiscriminatorStep("ofType", type_name))
            case ast.FunctionCall(target=None, name="ofType" | "as", arguments=(ast.Member(name=type_name),)):
                steps.append(DiscriminatorStep("ofType", type_name))
                break
            case _:
                return None
    return steps[::-1]


def walk(value: Any, path: DiscriminatorPath, resolve: Resolve, type_name: str = "") -> list[FoundValue]:
    """All values at a path below a value of a type."""
    found = [(value, type_name)]
    for kind, argument in path:
        fresh: list[FoundValue] = []
        for one, of in found:
            if kind == "ofType":
                if of in ("", argument):
                    fresh.append((one, argument))
            elif type(one) is dict:
                fresh += _take_step(one, kind, argument, resolve)
        found = fresh
    return [(v, str(v["resourceType"]) if type(v) is dict and "resourceType" in v else t) for v, t in found]


def _take_step(value: Mapping[str, Any], kind: str, argument: str, resolve: Resolve) -> list[FoundValue]:
    if kind == "name":
        return named_values(value, argument)
    if kind == "resolve":
        target = resolve(value)
        return [] if target is None else [(target, "")]
    extensions = value.get("extension")
    items = extensions if type(extensions) is list else []
    return [(e, "Extension") for e in items if type(e) is dict and e.get("url") == argument]


def named_values(value: Mapping[str, Any], name: str) -> list[FoundValue]:
    """The values of an element, which can be a choice of any type."""
    found, of = value.get(name), ""
    if found is None:
        for key, item in value.items():
            if key.startswith(name) and key[len(name) : len(name) + 1].isupper():
                found, of = item, key[len(name) :]
                break
    return [(v, of) for v in found] if type(found) is list else [] if found is None else [(found, of)]
