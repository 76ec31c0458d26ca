"""https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.errors import FhirError, Issue, error, outcome
from fhirstore.formats.json import compose, parse
from fhirstore.interactions.base import wrong_type
from fhirstore.interactions.body import ParsedBody
from fhirstore.interactions.create import Create
from fhirstore.interactions.delete import Delete
from fhirstore.interactions.profiles import as_stored, requested_requirements
from fhirstore.interactions.read import current_version
from fhirstore.interactions.server import Server
from fhirstore.interactions.update import Update
from fhirstore.interactions.write import Plan, WriteInteraction, key_in_use, new_id, with_plugin_writes
from fhirstore.interactions.write import validate as validate_write
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.plugins.model import OperationRequest, Write
from fhirstore.store.errors import DuplicateKey


def validate(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns an OperationOutcome with all issues, with status 200 even if there are errors.

    mode: the interaction whose checks are applied; nothing is stored. profile: validated in addition to the structure;
    without it, the profiles that apply to a write. Without a resource, the stored instance is validated. Raises 400 for
    contradictory parameters, and 404 or 410 for a missing instance."""
    type, mode, profile = operation.type, operation.one("mode"), operation.one("profile")
    assert type is not None  # the operation has no system level
    resource = _resource(server, operation, type, operation.one("resource"), mode, profile)
    issues: list[Issue] = []
    if mode in ("create", "update", "delete"):
        issues += _as_interaction(server, operation, type, mode, resource)
    elif profile is None:
        issues += _as_content(server, operation, type, resource)
    if profile is not None:
        id = operation.id or (new_id() if mode == "create" else "")
        write = Write("update" if operation.id else "create", type, id, resource)
        requirements = requested_requirements(server, operation.request, write, profile)
        judged = as_stored(write) if mode in ("create", "update") else resource
        issues += server.validator.validate(judged, requirements)
        for hook, context in server.hooks.validate:
            issues += hook(operation.request, write, requirements, context) or ()
    if mode != "delete":
        issues += server.validator.structure.advise(resource)
    return outcome(*dict.fromkeys(issues))


def _resource(
    server: Server,
    operation: OperationRequest,
    type: str,
    resource: Mapping[str, Any] | None,
    mode: str | None,
    profile: str | None,
) -> dict[str, Any]:
    """The resource to validate: the one that was sent, or the stored instance."""
    if resource is not None and mode == "profile":
        text = Message("mode profile validates the stored resource. Omit the parameter resource.")
        raise error(400, "invalid", text, "Parameters")
    if mode == "profile" and profile is None:
        raise error(400, "required", Message("mode profile requires the parameter profile."), "Parameters")
    if resource is not None:
        if resource.get("resourceType") != type:
            raise wrong_type(type, resource)
        return dict(resource)
    if operation.id is None or mode in ("create", "update"):
        raise error(400, "required", Message("The parameter resource is missing."), "Parameters")
    server.served(type, "read")
    return parse(compose(current_version(server, type, operation.id)), server.settings.max_nesting)


def _as_interaction(
    server: Server, operation: OperationRequest, type: str, mode: str, resource: dict[str, Any]
) -> list[Issue]:
    """The issues of the interaction. The id of an update comes from the URL, else from the resource."""
    id = operation.id or resource.get("id")
    if mode != "create" and not isinstance(id, str):
        raise error(400, "required", Message("mode {mode} requires a resource with an id.", mode=mode), f"{type}.id")
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
        (plan,) = interaction.plan_alone(server, operation.request)
        _dry_run(server, operation.request, plan)
    except FhirError as problem:
        return list(problem.issues)
    return [*plan.issues, *_outdated(resource, plan)] if mode == "update" else list(plan.issues)


def _dry_run(server: Server, request: RequestContext, plan: Plan) -> None:
    """Raises what a commit of the plan would raise: refusals of plugins, and 409 for a unique key. Stores nothing."""
    if plan.change is None:
        return
    plans, additional, _ = with_plugin_writes(server, request, [plan])
    changes = [p.change for p in (*plans, *additional) if p.change is not None]
    written = {f"{c.type}/{c.id}" for c in changes}
    for change in changes:
        for key in change.unique:
            owner = server.store.unique_key_owner(key)
            if owner is not None and owner not in written:
                raise key_in_use(DuplicateKey(key, change.type, change.id, owner))


def _outdated(resource: Mapping[str, Any], plan: Plan) -> Iterator[Issue]:
    """A warning if the resource is based on another version than the current one."""
    replaced = plan.change.replaces if plan.change is not None else plan.stored.version if plan.stored else None
    meta = resource.get("meta")
    seen = meta.get("versionId") if isinstance(meta, Mapping) else None
    if seen is not None and replaced is not None and seen != str(replaced):
        type = resource["resourceType"]
        text = Message(
            "The resource has version {seen}, but the current version is {replaced}. An update would overwrite it.",
            seen=seen,
            replaced=replaced,
        )
        yield Issue("warning", "conflict", text, (f"{type}.meta.versionId",))


def _as_content(server: Server, operation: OperationRequest, type: str, resource: dict[str, Any]) -> list[Issue]:
    """The issues of a write, whether or not the type allows one."""
    write = Write("validate", type, operation.id or "", copy.deepcopy(resource))
    issues: list[Issue] = []
    try:
        for hook, context in server.hooks.before_validate:
            issues += hook(operation.request, write, context) or ()
        return issues + validate_write(server, operation.request, write)
    except FhirError as problem:
        return list(problem.issues)
