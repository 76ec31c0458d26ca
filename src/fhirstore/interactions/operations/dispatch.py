"""https://hl7.org/fhir/R4/operations.html#executing: which operation a URL means, and its call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhirstore.capability.registry import ServedOperation
from fhirstore.errors import FhirError, error
from fhirstore.interactions.context import Server
from fhirstore.interactions.operations.answers import to_resource
from fhirstore.interactions.operations.arguments import ParameterReader
from fhirstore.interactions.update import check_id
from fhirstore.plugins.hookspecs import OperationRequest


@dataclass(frozen=True, slots=True)
class Request:
    """name: without "$". type None = the system level; id None = the type level. pairs: the query string, decoded."""

    method: str
    name: str
    type: str | None
    id: str | None
    pairs: Sequence[tuple[str, str]]

    @property
    def level(self) -> str:
        return "system" if self.type is None else "type" if self.id is None else "instance"

    @property
    def url(self) -> str:
        return "/".join(part for part in (self.type, self.id, f"${self.name}") if part is not None)


def operate(
    ctx: Server, base: str, request: Request, body: Callable[[], Mapping[str, Any] | None]
) -> dict[str, Any] | None:
    """The resource that the operation answers, None = nothing to say. body: gives the parsed body of a POST, None
    where it has none; not called for what is refused anyway.

    Raises 404 for what is not declared at this place, 405 for a method that is not possible, 400 for parameters that
    the definition does not allow, and what the operation raises."""
    served = find(ctx, request)
    implementation = ctx.operations[served.url]
    affects = implementation.affects_state if served.affects_state is None else served.affects_state
    if request.method != "POST" and affects:
        text = f"{request.method} is not possible for ${served.name}, which may change something; POST is."
        raise error(405, "not-supported", text, headers={"Allow": "POST"})
    reader = ParameterReader(ctx.registry.catalog.core, ctx.conformance.structure, served)
    arguments = reader.read(request.pairs, body() if request.method == "POST" else None)
    call = OperationRequest(served.name, request.type, request.id, arguments, base, ctx.registry, ctx.store)
    answer = implementation.run(ctx, call)
    return None if answer is None else to_resource(served, answer)


def find(ctx: Server, request: Request) -> ServedOperation:
    """Raises 404 unless the operation is declared at this place, 400 for an id that is none."""
    declared = ctx.registry.operations if request.type is None else ctx.served_type(request.type).operations
    found = declared.get(request.name)
    if found is None:
        raise _undeclared(request, declared)
    levels = _levels(found)
    if request.level not in levels:
        places = " and ".join(_place(level, request.type, found.name) for level in levels)
        raise error(404, "not-supported", f"${found.name} is no operation of the {request.level} level; {places} is.")
    if request.type is not None and request.id is not None:
        check_id(request.type, request.id)
    return found


def _levels(operation: ServedOperation) -> list[str]:
    flags = {"system": operation.system, "type": operation.type, "instance": operation.instance}
    return [level for level, has in flags.items() if has]


def _place(level: str, type: str | None, name: str) -> str:
    return {"system": f"[base]/${name}", "type": f"{type}/${name}", "instance": f"{type}/[id]/${name}"}[level]


def _undeclared(request: Request, declared: Mapping[str, ServedOperation]) -> FhirError:
    on = request.type or "the system level"
    known = ", ".join(f"${o.name} ({', '.join(_levels(o))})" for o in declared.values())
    told = f"declared there: {known}" if known else "none is declared there"
    return error(404, "not-supported", f"${request.name[:80]} is no operation of {on}; {told}.")
