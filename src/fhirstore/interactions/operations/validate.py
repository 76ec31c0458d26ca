"""https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import FhirError, Issue, error, outcome
from fhirstore.formats.compose import compose
from fhirstore.formats.json import parse
from fhirstore.interactions.context import Server
from fhirstore.interactions.create import plan_create
from fhirstore.interactions.delete import plan_delete
from fhirstore.interactions.profiles import asked
from fhirstore.interactions.read import read
from fhirstore.interactions.update import plan_update
from fhirstore.interactions.write import Plan, check_type, judge, normalise, plugin_issues, rehearse
from fhirstore.plugins.hookspecs import OperationRequest, Write


def validate(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """An OperationOutcome with all that is wrong; that is no failure of the request, so it is answered with 200.

    mode: what is to become of the resource; then everything is checked that this interaction checks, but nothing is
    stored. profile: checked beside the structure; without it the profiles that a write would be held to. Without a
    resource that of the instance is checked. Raises 400 for a request that makes no sense, 404 and 410 for an instance
    that is not there."""
    type, mode, profile = call.type, call.one("mode"), call.one("profile")
    assert type is not None  # the operation is none of the system level
    resource = _resource(ctx, call, type, mode)
    issues: list[Issue] = []
    if mode in ("create", "update", "delete"):
        issues += _as_interaction(ctx, call, type, mode, resource)
    elif profile is None:
        issues += _as_content(ctx, call, type, resource)
    if profile is not None:
        write = Write("update" if call.id else "create", type, call.id or "", resource)
        wanted = asked(ctx, write, profile)
        issues += ctx.conformance.validate(resource, wanted)
        issues += plugin_issues(ctx, write, wanted)
    if mode != "delete":
        issues += ctx.conformance.structure.advise(resource)
    return outcome(*dict.fromkeys(issues))


def _resource(ctx: Server, call: OperationRequest, type: str, mode: str | None) -> dict[str, Any]:
    given = call.one("resource")
    if given is not None and mode == "profile":
        text = "mode profile checks the resource that is stored; ask without the parameter resource."
        raise error(400, "invalid", text, "Parameters")
    if mode == "profile" and call.one("profile") is None:
        raise error(400, "required", "mode profile names a profile; the parameter profile is missing.", "Parameters")
    if given is not None:
        check_type(type, given)
        return dict(given)
    if call.id is None or mode in ("create", "update"):
        raise error(400, "required", "The parameter resource is missing.", "Parameters")
    return parse(compose(read(ctx, type, call.id)), ctx.settings.max_nesting)


def _as_interaction(ctx: Server, call: OperationRequest, type: str, mode: str, resource: dict[str, Any]) -> list[Issue]:
    """What the interaction would answer. A resource for an update is named by the URL, else by its own id."""
    fresh = copy.deepcopy(resource)
    id = call.id or fresh.get("id")
    if mode != "create" and not isinstance(id, str):
        raise error(400, "required", f"mode {mode} is about a resource with an id.", f"{type}.id")
    try:
        if mode == "create":
            plan = plan_create(ctx, type, fresh)
        elif mode == "update":
            plan = plan_update(ctx, type, str(id), fresh)
        else:
            read(ctx, type, str(id))
            plan = plan_delete(ctx, type, str(id), None)
        rehearse(ctx, plan)
    except FhirError as problem:
        return list(problem.issues)
    return [*plan.issues, *_outdated(resource, plan)] if mode == "update" else list(plan.issues)


def _outdated(resource: Mapping[str, Any], plan: Plan) -> Iterator[Issue]:
    """A warning where the resource was made from another version than the current one."""
    replaced = plan.change.replaces if plan.change is not None else plan.stored.version if plan.stored else None
    meta = resource.get("meta")
    seen = meta.get("versionId") if isinstance(meta, Mapping) else None
    if seen is not None and replaced is not None and seen != str(replaced):
        type = resource["resourceType"]
        text = f"The resource has version {seen}, but the current version is {replaced}: an update would overwrite it."
        yield Issue("warning", "conflict", text, (f"{type}.meta.versionId",))


def _as_content(ctx: Server, call: OperationRequest, type: str, resource: dict[str, Any]) -> list[Issue]:
    """What a write would say of the content, whether or not one is served, if plugins corrected nothing."""
    write = Write("validate", type, call.id or "", copy.deepcopy(resource))
    try:
        return [*normalise(ctx, write), *judge(ctx, write)]
    except FhirError as problem:
        return list(problem.issues)
