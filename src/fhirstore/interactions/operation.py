"""https://hl7.org/fhir/R4/operations.html#executing"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from fhirstore.capability.registry import ServedOperation
from fhirstore.errors import FhirError, error
from fhirstore.formats.json import dumps
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.body import Body, Parameters
from fhirstore.interactions.operations.answers import to_resource
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
        an id that is not one."""
        served = self._find(server)
        affects_state = served.affects_state
        if affects_state is None:
            affects_state = server.operations[served.url].affects_state
        if self.method != "POST" and affects_state:
            text = Message(
                "{method} is not allowed for ${name}, which may change data. Use POST.",
                method=self.method,
                name=served.name,
            )
            raise error(405, "not-supported", text, headers={"Allow": "POST"})

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises 400 for parameters that the definition does not allow, and what the operation raises."""
        served = self._find(server)
        reader = ParameterReader(server.registry.catalog.core, server.validator.structure, served)
        body = self.body.optional_resource() if self.method == "POST" else None
        arguments = reader.read(self.parameters, body)
        call = OperationRequest(served.name, self.type, self.id, arguments, request.base, request)
        answer = server.operations[served.url].run(server, call)
        if answer is None:
            return Result(204)
        resource = to_resource(served, answer)
        return Result(200, body=dumps(resource), is_outcome=resource.get("resourceType") == "OperationOutcome")

    def _find(self, server: Server) -> ServedOperation:
        declared = server.registry.operations if self.type is None else server.served_type(self.type).operations
        found = declared.get(self.operation)
        if found is None:
            raise self._undeclared(declared)
        levels = _levels(found)
        if self.level not in levels:
            places = conjunction(_url(level, self.type, found.name) for level in levels)
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
