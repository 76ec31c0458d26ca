"""https://hl7.org/fhir/R4/operations.html#response: the result of an operation as a resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.capability.registry import OperationParameter, ServedOperation


def to_resource(operation: ServedOperation, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The resource to return.

    answer: a resource, or the values of the out parameters by name. A single out parameter `return` that is a resource
    is returned as it is; otherwise the result is Parameters."""
    if "resourceType" in answer:
        return dict(answer)
    only = answer.get("return")
    if len(operation.outputs) == 1 and isinstance(only, Mapping) and "resourceType" in only:
        return dict(only)
    parameters = _parameters(operation.outputs, answer)
    return {"resourceType": "Parameters"} | ({"parameter": parameters} if parameters else {})


def _parameters(known: Mapping[str, OperationParameter], answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Parameters.parameter, in the order of the definition. Raises LookupError for an unknown name."""
    unknown = answer.keys() - known.keys()
    if unknown:
        raise LookupError(f"out parameters that the definition lacks: {', '.join(sorted(unknown))}")
    return [
        {"name": name, **_value(parameter, value)}
        for name, parameter in known.items()
        for value in _as_list(answer.get(name))
    ]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _value(parameter: OperationParameter, value: Any) -> dict[str, Any]:
    if parameter.parts:
        return {"part": _parameters(parameter.parts, value)}
    if isinstance(value, Mapping) and "resourceType" in value:
        return {"resource": value}
    type, plain = value if isinstance(value, tuple) else (parameter.types[0], value)
    return {f"value{type[0].upper()}{type[1:]}": plain}
