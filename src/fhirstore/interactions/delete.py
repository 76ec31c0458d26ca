"""https://hl7.org/fhir/R4/http.html#delete and #3.1.0.7.1 (conditional delete)."""

from __future__ import annotations

from dataclasses import replace

from fhirstore.errors import error
from fhirstore.interactions.conditional import Criteria
from fhirstore.interactions.context import Server
from fhirstore.interactions.package_ownership import refuse_package_owned
from fhirstore.interactions.update import check_version
from fhirstore.interactions.write import Plan, removal
from fhirstore.model.stored import Guard, Stored
from fhirstore.plugins.hookspecs import Write


def plan_delete(ctx: Server, type: str, id: str, if_match: str | None = None) -> Plan:
    """Deleting what is not there, or no more, is a success that changes nothing."""
    ctx.served(type, "delete")
    current = ctx.store.read(type, id)
    check_version(type, id, current, if_match)
    return _plan(ctx, type, current)


def plan_conditional_delete(ctx: Server, type: str, criteria: Criteria) -> list[Plan]:
    """Deletes the match; several only where the deployment says `multiple`, else 412."""
    served = ctx.served(type, "delete")
    if served.conditional_delete == "not-supported":
        raise error(412, "not-supported", f"Conditional delete is not served on {type}.")
    if served.conditional_delete == "multiple":
        most = ctx.settings.max_bundle_entries
        found = ctx.store.find(type, criteria.where, limit=most + 1).entries
        if len(found) > most:
            raise error(
                412,
                "too-costly",
                f"More than {most} resources match (setting max_bundle_entries): narrow the criteria.",
            )
        matches = found
    else:
        found = criteria.matches(ctx)
        one = criteria.choose(ctx, found)
        matches = [one] if one is not None else []
    if not matches:
        return [Plan(204)]
    plans = [_plan(ctx, type, s, criteria.text) for s in matches]
    return [_guarded(plans[0], criteria.guard(found)), *plans[1:]]


def _plan(ctx: Server, type: str, current: Stored | None, query: str | None = None) -> Plan:
    if current is None or current.deleted:
        return Plan(204, None, current)
    refuse_package_owned(ctx.owned, type, current.id)
    write = Write("delete", type, current.id, None, previous=current, query=query)
    return removal(ctx, write)


def _guarded(plan: Plan, guard: Guard) -> Plan:
    return replace(plan, guards=(guard,))
