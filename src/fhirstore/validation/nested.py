"""The resources nested in a resource: contained resources (https://hl7.org/fhir/R4/references.html#contained), the
entries of a Bundle, and the resources in Parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

Resource = dict[str, Any]

CONTAINERS = frozenset({"Bundle", "Parameters"})
"""The resource types whose resources have resources in elements other than `contained`."""


class NestedResource(NamedTuple):
    """path: FHIRPath below the outermost resource (".entry[0].resource"). ancestors: the resources between the
    outermost one and this one, outermost first."""

    resource: Resource
    path: str
    ancestors: tuple[Resource, ...]


def nested_resources(resource: Any, path: str = "", ancestors: tuple[Resource, ...] = ()) -> Iterator[NestedResource]:
    """All nested resources at any depth, in document order. Malformed parts are skipped."""
    if type(resource) is not dict:
        return
    for below, nested in _children(resource):
        if type(nested) is dict:
            yield NestedResource(nested, path + below, ancestors)
            yield from nested_resources(nested, path + below, (*ancestors, nested))


def _children(resource: Resource) -> Iterator[tuple[str, Any]]:
    if "contained" in resource:
        yield from _items(resource, "contained")
    name = resource.get("resourceType")
    if name == "Bundle":
        for path, entry in _items(resource, "entry"):
            yield f"{path}.resource", entry.get("resource")
            response = entry.get("response")
            if type(response) is dict:
                yield f"{path}.response.outcome", response.get("outcome")
    elif name == "Parameters":
        yield from _parameters(resource, "parameter")


def _parameters(parent: Resource, key: str) -> Iterator[tuple[str, Any]]:
    for path, parameter in _items(parent, key):
        yield f"{path}.resource", parameter.get("resource")
        for below, nested in _parameters(parameter, "part"):
            yield path + below, nested


def _items(parent: Resource, key: str) -> Iterator[tuple[str, Resource]]:
    """(FHIRPath, object) of each object in an array."""
    values = parent.get(key)
    for index, value in enumerate(values if type(values) is list else ()):
        if type(value) is dict:
            yield f".{key}[{index}]", value
