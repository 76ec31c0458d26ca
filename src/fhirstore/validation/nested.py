"""The resources inside of a resource: contained ones (https://hl7.org/fhir/R4/references.html#contained), the entries
of a Bundle, and what Parameters hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Resource = dict[str, Any]


class NestedResource(NamedTuple):
    """place: FHIRPath below the outermost resource (".entry[0].resource"). around: the resources between the outermost
    one and this one, from outside in."""

    resource: Resource
    place: str
    around: tuple[Resource, ...]


def nested_resources(resource: Any, place: str = "", around: tuple[Resource, ...] = ()) -> Iterator[NestedResource]:
    """All of them, however deep, in document order; malformed parts are passed over."""
    if type(resource) is not dict:
        return
    for below, inner in _held(resource):
        if type(inner) is dict:
            yield NestedResource(inner, place + below, around)
            yield from nested_resources(inner, place + below, (*around, inner))


def _held(resource: Resource) -> Iterator[tuple[str, Any]]:
    if "contained" in resource:
        yield from _items(resource, "contained")
    name = resource.get("resourceType")
    if name == "Bundle":
        for place, entry in _items(resource, "entry"):
            yield f"{place}.resource", entry.get("resource")
            response = entry.get("response")
            if type(response) is dict:
                yield f"{place}.response.outcome", response.get("outcome")
    elif name == "Parameters":
        yield from _parameters(resource, "parameter")


def _parameters(holder: Resource, key: str) -> Iterator[tuple[str, Any]]:
    for place, parameter in _items(holder, key):
        yield f"{place}.resource", parameter.get("resource")
        for below, inner in _parameters(parameter, "part"):
            yield place + below, inner


def _items(holder: Resource, key: str) -> Iterator[tuple[str, Resource]]:
    """The objects in an array, each with its place."""
    values = holder.get(key)
    for index, value in enumerate(values if type(values) is list else ()):
        if type(value) is dict:
            yield f".{key}[{index}]", value
