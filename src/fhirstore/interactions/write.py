"""Writes: plan, commit, and plan again if the store has changed in between.

A plan names the version that it replaces and its guards. The commit is refused if they no longer hold, so no update is
lost, and twenty concurrent conditional creates give one resource (https://hl7.org/fhir/R4/http.html#concurrency).
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from fhirstore.errors import FhirError, Issue, error
from fhirstore.formats.compose import split
from fhirstore.interactions.package_ownership import refuse_package_owned
from fhirstore.interactions.profiles import nested_requirements, profile_requirements
from fhirstore.interactions.rest import Result
from fhirstore.interactions.server import Server, ValidationContext
from fhirstore.interactions.stored_structures import structure_markers
from fhirstore.interactions.stored_terminology import change_markers
from fhirstore.model.context import RequestContext
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.messages import Message
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.stored import (
    Change,
    Guard,
    Record,
    Stored,
)
from fhirstore.plugins.hookspecs import PendingCommit, Write
from fhirstore.search.index import extract
from fhirstore.store.errors import DuplicateKey, GuardChanged, VersionConflict
from fhirstore.validation.validator import downgrade

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """One intended change. change: None if nothing changes; `stored` is the result then.
    write: the source of the change, None for writes that plugins do not see."""

    status: int
    change: Change | None = None
    stored: Stored | None = None
    guards: tuple[Guard, ...] = ()
    records: tuple[Record, ...] = ()
    issues: tuple[Issue, ...] = ()
    has_location: bool = False
    versioned_location: bool = True
    write: Write | None = None

    def result(self, stored: Stored | None) -> Result:
        return Result(
            self.status,
            stored,
            has_location=self.has_location,
            versioned_location=self.versioned_location,
            issues=self.issues,
        )


def new_id() -> str:
    """A UUID that begins with the time (UUIDv7, RFC 9562), so that resources of the same time are adjacent on disk."""
    milliseconds = time.time_ns() // 1_000_000
    random = uuid.uuid4().int
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | 7 << 76 | (random >> 64 & 0xFFF) << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | random & 0x3FFFFFFFFFFFFFFF))


def commit(server: Server, request: RequestContext, plan: Callable[[], Sequence[Plan]]) -> list[Result]:
    """Plans and commits until the plans hold. Returns the results of the plans.

    plan: called again after a conflict; it must read the store again. Raises what `plan` raises, and 409 if a unique
    key is in use or concurrent writers keep winning."""
    give_up = time.monotonic() + server.settings.write_timeout_s
    if request.deadline is not None:
        give_up = min(give_up, request.deadline)
    while True:
        plans = plan()
        if all(p.change is None for p in plans):
            return [p.result(p.stored) for p in plans]
        plans, additional, pending = _with_plugin_writes(server, request, plans)
        changes = [p.change for p in (*plans, *additional) if p.change is not None]
        guards = [*(g for p in plans for g in p.guards), *pending.guards]
        records = [*(r for p in (*plans, *additional) for r in p.records), *pending.records]
        records += [*change_markers(changes), *structure_markers(changes)]
        try:
            stored = server.store.commit(changes, guards, records)
        except (VersionConflict, GuardChanged) as conflict:
            if time.monotonic() > give_up:
                text = Message(
                    "Concurrent writers keep changing the same resource: {conflict}. Try again.", conflict=conflict
                )
                raise error(409, "conflict", text) from conflict
            continue
        except DuplicateKey as duplicate:
            raise _key_in_use(duplicate) from duplicate
        _notify(server, request, stored)
        new_versions = iter(stored)
        return [p.result(next(new_versions) if p.change is not None else p.stored) for p in plans]


def dry_run(server: Server, request: RequestContext, plan: Plan) -> None:
    """Raises what a commit of the plan would raise: refusals of plugins, and 409 for a unique key. Stores nothing."""
    if plan.change is None:
        return
    plans, additional, _ = _with_plugin_writes(server, request, [plan])
    changes = [p.change for p in (*plans, *additional) if p.change is not None]
    written = {f"{c.type}/{c.id}" for c in changes}
    for change in changes:
        for key in change.unique:
            owner = server.store.unique_key_owner(key)
            if owner is not None and owner not in written:
                raise _key_in_use(DuplicateKey(key, change.type, change.id, owner))


def _with_plugin_writes(
    server: Server, request: RequestContext, plans: Sequence[Plan]
) -> tuple[Sequence[Plan], list[Plan], PendingCommit]:
    """The plans, the plans of writes that plugins add, and the commit with its additional records and guards.

    An additional write of a resource that a plan changes already replaces that plan's change."""
    pending = PendingCommit(tuple(p.write for p in plans if p.write is not None and p.change is not None))
    hook = server.plugins.hook.complete_commit
    if not pending.writes or not hook.get_hookimpls():
        return plans, [], pending
    hook(request=request, commit=pending, context=server.contexts)
    completed, additional = list(plans), []
    positions = {(p.change.type, p.change.id): n for n, p in enumerate(plans) if p.change is not None}
    for write in pending.additional_writes:
        added = _plan_additional(server, request, write)
        position = positions.get((write.type, write.id))
        if position is None:
            additional.append(added)
        else:
            issues = tuple(dict.fromkeys((*plans[position].issues, *added.issues)))
            completed[position] = replace(
                plans[position],
                change=added.change,
                stored=added.stored,
                records=added.records,
                issues=issues,
                write=write,
            )
    return completed, additional, pending


def _plan_additional(server: Server, request: RequestContext, write: Write) -> Plan:
    if write.resource is None:
        return plan_deletion(server, request, write)
    try:
        return prepare(server, request, write, status=200)
    except FhirError as problem:
        issues = (replace(i, diagnostics=_of_additional(write, i.diagnostics)) for i in problem.issues)
        raise FhirError(problem.status, tuple(issues)) from None


def _of_additional(write: Write, reason: str) -> str:
    return Message(
        "{type}/{id}, which changes with this resource, is refused: {reason}",
        type=write.type,
        id=write.id,
        reason=reason,
    )


def _key_in_use(duplicate: DuplicateKey) -> FhirError:
    label, _, value = duplicate.key.partition("|")
    # The catalogue of the plugin that adds the key has the label.
    label = Message(label.replace("{", "{{").replace("}", "}}"))
    text = Message(
        "{label} {value} is already used by {owner}. It must be unique.",
        label=label,
        value=value,
        owner=duplicate.owner,
    )
    return error(409, "duplicate", text, duplicate.type)


def _notify(server: Server, request: RequestContext, stored: Sequence[Stored]) -> None:
    for impl in server.plugins.hook.after_commit.get_hookimpls():
        try:
            given = {"request": request, "stored": stored, "context": server.contexts}
            impl.function(*(given[name] for name in impl.argnames))
        except Exception:
            log.exception("after_commit of plugin %s failed", impl.plugin_name)


def prepare(
    server: Server,
    request: RequestContext,
    write: Write,
    *,
    status: int,
    guards: tuple[Guard, ...] = (),
    where: str | None = None,
) -> Plan:
    """The plan of a create or update: the resource is normalised, validated and indexed.

    where: FHIRPath of the resource in its Bundle, for messages. Raises 422 with all issues, and 403 if the resource
    belongs to a package."""
    resource = write.resource
    assert resource is not None
    refuse_package_owned(server.package_owners, write.type, write.id, where)
    write.base = _base(server)
    issues = [*normalise(server, request, write), *validate(server, request, write)]
    if any(issue.is_error for issue in issues):
        raise FhirError(422, tuple(issues) if where is None else tuple(_moved(i, write.type, where) for i in issues))
    server.plugins.hook.before_commit(request=request, write=write, context=server.contexts)
    meta, body = split(resource)
    issues += write.issues
    has_version = not write.location_without_version
    if _is_unchanged(write, meta, body):
        return Plan(200, None, write.previous, guards, (), tuple(issues), True, has_version)
    change = Change(
        type=write.type,
        id=write.id,
        replaces=write.previous.version if write.previous is not None else None,
        method="POST" if write.interaction == "create" else "PUT",
        meta=meta,
        body=body,
        index=extract_index(server, write.type, resource),
        unique=tuple(write.unique),
    )
    return Plan(status, change, None, guards, tuple(write.records), tuple(issues), True, has_version, write)


def _is_unchanged(write: Write, meta: bytes, body: bytes) -> bool:
    """Whether the write would store the current version again."""
    previous = write.previous
    return (
        previous is not None
        and not previous.deleted
        and previous.meta == meta
        and previous.body == body
        and not write.records
    )


def plan_deletion(server: Server, request: RequestContext, write: Write) -> Plan:
    """The plan of a deletion. write.previous: the version that is deleted."""
    previous = write.previous
    assert previous is not None
    write.base = _base(server)
    server.plugins.hook.before_commit(request=request, write=write, context=server.contexts)
    change = Change(write.type, write.id, previous.version, "DELETE", deleted=True)
    return Plan(204, change, None, records=tuple(write.records), write=write)


def extract_index(server: Server, type: str, resource: dict[str, Any]) -> IndexEntries:
    """The index entries of a resource under the parameters and settings of this deployment."""
    settings = server.settings
    params = server.registry.indexed_types.get(type, {})
    return extract(params, resource, ZoneInfo(settings.timezone), _base(server))


def _base(server: Server) -> str | None:
    return server.settings.base_url.rstrip("/") if server.settings.base_url else None


def normalise(server: Server, request: RequestContext, write: Write) -> list[Issue]:
    """Runs the normalisation hooks, which change the resource in place, and returns their issues."""
    answers = server.plugins.hook.before_validate(request=request, write=write, context=server.contexts)
    return [issue for issues in answers for issue in issues or ()]


def validate(server: ValidationContext, request: RequestContext, write: Write) -> list[Issue]:
    """The issues of the resource by R4, by its profiles, and by the rules of plugins."""
    issues: list[Issue] = []
    requirements: list[ProfileRequirement] = []
    mode = server.settings.validation
    if mode != "off":
        requirements = profile_requirements(server, request, write)
        nested = nested_requirements(server, request, write)
        issues += server.validator.validate(write.resource, requirements, nested)
        if mode == "warn":
            issues = downgrade(issues)
            requirements = [replace(r, policy="warn") for r in requirements if r.policy != "off"]
    return issues + plugin_issues(server, request, write, requirements)


def plugin_issues(
    server: ValidationContext, request: RequestContext, write: Write, requirements: Sequence[ProfileRequirement]
) -> list[Issue]:
    """The issues of the plugins' rules for a resource that is validated against these profiles."""
    answers = server.plugins.hook.validate(
        request=request, write=write, requirements=requirements, context=server.contexts
    )
    return [issue for issues in answers for issue in issues or ()]


def _moved(issue: Issue, type: str, where: str) -> Issue:
    """The issue with its expressions moved from the resource to its location in the Bundle."""
    moved = tuple(where + e[len(type) :] if e.split(".")[0].split("[")[0] == type else e for e in issue.expression)
    return replace(issue, expression=moved or (where,))


def check_type(type: str, resource: dict[str, Any]) -> None:
    """Raises 400 unless the body is a resource of the type in the URL."""
    given = resource.get("resourceType")
    if given != type:
        text = (
            Message("resourceType is {given}", given=repr(given))
            if given is not None
            else Message("resourceType is missing")
        )
        raise error(
            400,
            "invalid",
            Message("{text}; the URL requires {type}.", text=text, type=type),
            f"{type}.resourceType" if given else type,
        )
