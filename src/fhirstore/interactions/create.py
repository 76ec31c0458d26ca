"""https://hl7.org/fhir/R4/http.html#create and #ccreate (If-None-Exist)."""

from __future__ import annotations

from typing import Any

from fhirstore.errors import error
from fhirstore.interactions.conditional import Criteria
from fhirstore.interactions.context import Server
from fhirstore.interactions.write import Plan, check_type, new_id, prepare
from fhirstore.model.stored import Guard
from fhirstore.plugins.hookspecs import Write


def plan_create(
    ctx: Server,
    type: str,
    resource: dict[str, Any],
    criteria: Criteria | None = None,
    *,
    id: str | None = None,
    where: str | None = None,
) -> Plan:
    """Creates under a new id (the body's own is ignored, as the specification wants); with criteria only when
    nothing matches them: one match answers 200 with that resource, several 412."""
    served = ctx.served(type, "create")
    check_type(type, resource)
    guards: tuple[Guard, ...] = ()
    if criteria is not None:
        if not served.conditional_create:
            raise error(412, "not-supported", f"Conditional create is not served on {type}.", "http.If-None-Exist")
        seen = criteria.matches(ctx)
        found = criteria.choose(ctx, seen)
        if found is not None:
            return Plan(200, None, found, has_location=True)
        guards = (criteria.guard(seen),)
    write = Write("create", type, id or new_id(), resource, query=criteria.text if criteria else None)
    resource.pop("id", None)
    return prepare(ctx, write, status=201, guards=guards, where=where)
