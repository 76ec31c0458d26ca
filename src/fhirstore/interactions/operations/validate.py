"""https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import FhirError, Issue, error, outcome
from fhirstore.formats.compose import compose
from fhirstore.formats.json import parse
from fhirstore.interactions.base import WriteInteraction
from fhirstore.interactions.context import Server
from fhirstore.interactions.create import Create
from fhirstore.interactions.delete import Delete
from fhirstore.interactions.profiles import asked
from fhirstore.interactions.read import current_version
from fhirstore.interactions.rest import ParsedBody
from fhirstore.interactions.update import Update
from fhirstore.interactions.write import Plan, check_type, dry_run, judge, normalise, plugin_issues
from fhirstore.plugins.hookspecs import OperationRequest, Write


def validate(server: Server, call: OperationRequest) -> Mapping[str, Any]:
    """An OperationOutcome with all that is wrong; that is no failure of the request, so it is answered with 200.

    mode: what is to become of the resource; then everything is checked that this interaction checks, but nothing is
    stored. profile: checked beside the structure; without it the profiles that a write would be held to. Without a
    resource that of the instance is checked. Raises 400 for a request that makes no sense, 404 and 410 for an instance
    that is not there."""
    type, mode, profile = call.type, call.one("mode"), call.one("profile")
    assert type is not None  # the operation is none of the system level
    resource = _resource(server, call, type, mode)
    issues: list[Issue] = []
    if mode in ("create", "update", "delete"):
        issues += _as_interaction(server, call, type, mode, resource)
    elif profile is None:
        issues += _as_content(server, call, type, resource)
    if profile is not None:
        write = Write("update" if call.id else "create", type, call.id or "", resource)
        wanted = asked(server, write, profile)
        issues += server.conformance.validate(resource, wanted)
        issues += plugin_issues(server, write, wanted)
    if mode != "delete":
        issues += server.conformance.structure.advise(resource)
    return outcome(*dict.fromkeys(issues))


def _resource(server: Server, call: OperationRequest, type: str, mode: str | None) -> dict[str, Any]:
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
    server.served(type, "read")
    return parse(compose(current_version(server, type, call.id)), server.settings.max_nesting)


def _as_interaction(
    server: Server, call: OperationRequest, type: str, mode: str, resource: dict[str, Any]
) -> list[Issue]:
    """What the interaction would answer. A resource for an update is named by the URL, else by its own id."""
    id = call.id or resource.get("id")
    if mode != "create" and not isinstance(id, str):
        raise error(400, "required", f"mode {mode} requires a resource with an id.", f"{type}.id")
    body = ParsedBody(resource)
    interaction: WriteInteraction
    try:
        if mode == "create":
            interaction = Create(type=type, body=body)
        elif mode == "update":
            interaction = Update(type=type, id=str(id), body=body)
        else:
            server.served(type, "read")
            current_version(server, type, str(id))
            interaction = Delete(type=type, id=str(id))
        interaction.check_served(server)
        (plan,) = interaction.plan_alone(server, call.request)
        dry_run(server, call.request, plan)
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


def _as_content(server: Server, call: OperationRequest, type: str, resource: dict[str, Any]) -> list[Issue]:
    """What a write would say of the content, whether or not one is served, if plugins corrected nothing."""
    write = Write("validate", type, call.id or "", copy.deepcopy(resource))
    try:
        return [*normalise(server, write), *judge(server, write)]
    except FhirError as problem:
        return list(problem.issues)
