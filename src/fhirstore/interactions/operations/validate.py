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


def validate(ctx: Server, request: OperationRequest) -> Mapping[str, Any]:
    """Returns an OperationOutcome with all issues, with status 200 even if there are errors.

    mode: the interaction whose checks are applied; nothing is stored. profile: validated in addition to the structure;
    without it, the profiles that apply to a write. Without a resource, the stored instance is validated. Raises 400 for
    contradictory parameters, and 404 or 410 for a missing instance."""
    type, mode, profile = request.type, request.one("mode"), request.one("profile")
    assert type is not None  # the operation has no system level
    resource = _resource(ctx, request, type, mode)
    issues: list[Issue] = []
    if mode in ("create", "update", "delete"):
        issues += _as_interaction(ctx, request, type, mode, resource)
    elif profile is None:
        issues += _as_content(ctx, request, type, resource)
    if profile is not None:
        write = Write("update" if request.id else "create", type, request.id or "", resource)
        wanted = asked(ctx, write, profile)
        issues += ctx.conformance.judge(resource, wanted)
        issues += plugin_issues(ctx, write, wanted)
    if mode != "delete":
        issues += ctx.conformance.structure.advise(resource)
    return outcome(*dict.fromkeys(issues))


def _resource(ctx: Server, request: OperationRequest, type: str, mode: str | None) -> dict[str, Any]:
    resource = request.one("resource")
    if resource is not None and mode == "profile":
        text = "mode profile validates the stored resource. Omit the parameter resource."
        raise error(400, "invalid", text, "Parameters")
    if mode == "profile" and request.one("profile") is None:
        raise error(400, "required", "mode profile requires the parameter profile.", "Parameters")
    if resource is not None:
        check_type(type, resource)
        return dict(resource)
    if request.id is None or mode in ("create", "update"):
        raise error(400, "required", "The parameter resource is missing.", "Parameters")
    return parse(compose(read(ctx, type, request.id)), ctx.settings.max_nesting)


def _as_interaction(
    ctx: Server, request: OperationRequest, type: str, mode: str, resource: dict[str, Any]
) -> list[Issue]:
    """The issues of the interaction. The id of an update comes from the URL, else from the resource."""
    fresh = copy.deepcopy(resource)
    id = request.id or fresh.get("id")
    if mode != "create" and not isinstance(id, str):
        raise error(400, "required", f"mode {mode} requires an id, in the URL or in the resource.", f"{type}.id")
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
    """A warning if the resource is based on another version than the current one."""
    replaced = plan.change.replaces if plan.change is not None else plan.stored.version if plan.stored else None
    meta = resource.get("meta")
    seen = meta.get("versionId") if isinstance(meta, Mapping) else None
    if seen is not None and replaced is not None and seen != str(replaced):
        type = resource["resourceType"]
        text = f"The resource has version {seen}, but the current version is {replaced}. An update would overwrite it."
        yield Issue("warning", "conflict", text, (f"{type}.meta.versionId",))


def _as_content(ctx: Server, request: OperationRequest, type: str, resource: dict[str, Any]) -> list[Issue]:
    """The issues of a write, whether or not the type allows one."""
    write = Write("validate", type, request.id or "", copy.deepcopy(resource))
    try:
        return [*normalise(ctx, write), *judge(ctx, write)]
    except FhirError as problem:
        return list(problem.issues)
