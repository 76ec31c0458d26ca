"""https://hl7.org/fhir/R4/operations.html#executing"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from fhirstore.capability.registry import OperationParameter, ServedOperation
from fhirstore.errors import FhirError, error
from fhirstore.formats.json import dumps
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.body import Body, Parameters
from fhirstore.interactions.operations.arguments import ParameterReader
from fhirstore.interactions.server import Server
from fhirstore.interactions.update import check_id
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message, conjunction
from fhirstore.plugins.model import OperationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Interaction):
    """An operation. operation: its name without "$". method: GET or POST. parameters: the decoded query string."""

    code: ClassVar[str] = "operation"

    operation: str
    method: str = "POST"
    parameters: Parameters
    body: Body

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        return cls(**path, method=rest.method, parameters=rest.parameters, body=rest.body)

    @property
    def name(self) -> str:
        return f"${self.operation}"

    @property
    def level(self) -> str:
        return "system" if self.type is None else "type" if self.id is None else "instance"

    def check_served(self, server: Server) -> None:
        """Raises 404 unless the operation is declared at this level, 405 for a method that it does not allow, 400 for
        an id that is not one, 415 unless the body of an operation that may change data is JSON."""
        served = self._find(server)
        affects_state = served.affects_state
        if affects_state is None:
            affects_state = server.operations[served.url].affects_state
        if not affects_state:
            return
        if self.method == "POST":
            self.body.require_json()
        else:
            text = Message(
                "{method} is not allowed for ${name}, which may change data. Use POST.",
                method=self.method,
                name=served.name,
            )
            raise error(405, "not-supported", text, headers={"Allow": "POST"})

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises 400 for parameters that the definition does not allow, and what the operation raises."""
        served = self._find(server)
        body = self.body.optional_resource() if self.method == "POST" else None
        reader = ParameterReader(server.registry.catalog.core, server.validator.structure, served)
        arguments = reader.read(self.parameters, body)
        call = OperationRequest(served.name, self.type, self.id, arguments, request.base, request)
        answer = server.operations[served.url].run(server, call)
        if answer is None:
            return Result(204)
        resource = to_resource(served, answer)
        return Result(200, body=dumps(resource), is_outcome=resource.get("resourceType") == "OperationOutcome")

    def _find(self, server: Server) -> ServedOperation:
        if self.type is None:
            declared = server.registry.operations
        elif self.type in server.registry.types:
            declared = server.registry.types[self.type].operations
        else:
            raise server.not_served(self.type)
        found = declared.get(self.operation)
        if found is None:
            raise self._undeclared(declared)
        if not getattr(found, self.level):
            places = conjunction(_url(level, self.type, found.name) for level in _levels(found))
            text = Message(
                "${name} is not an operation of the {level} level. Use {places}.",
                name=found.name,
                level=self.level,
                places=places,
            )
            raise error(404, "not-supported", text)
        if self.type is not None and self.id is not None:
            check_id(self.type, self.id)
        return found

    def _undeclared(self, declared: Mapping[str, ServedOperation]) -> FhirError:
        level = self.type or Message("the system level")
        known = ", ".join(f"${o.name} ({', '.join(_levels(o))})" for o in declared.values()) or "none"
        text = Message(
            "${operation} is not an operation of {level}. Declared operations: {known}.",
            operation=self.operation[:80],
            level=level,
            known=known,
        )
        return error(404, "not-supported", text)


def _levels(operation: ServedOperation) -> list[str]:
    flags = {"system": operation.system, "type": operation.type, "instance": operation.instance}
    return [level for level, has in flags.items() if has]


def _url(level: str, type: str | None, name: str) -> str:
    return {"system": f"[base]/${name}", "type": f"{type}/${name}", "instance": f"{type}/[id]/${name}"}[level]


# --- the result -----------------------------------------------------------------------------------


def to_resource(operation: ServedOperation, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The resource to return: https://hl7.org/fhir/R4/operations.html#response.

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
