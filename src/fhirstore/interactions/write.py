"""Writes: plan, commit, and plan again if the store has changed in between.

A write is identified, then planned, then committed. A plan names the version that it replaces and its guards. The
commit is refused if they no longer hold, so no update is lost, and twenty concurrent conditional creates give one
resource (https://hl7.org/fhir/R4/http.html#concurrency).
"""

from __future__ import annotations

import logging
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self

import msgspec

from fhirstore.errors import FhirError, Issue, error
from fhirstore.formats.json import split
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.body import Body
from fhirstore.interactions.conditional import Criteria
from fhirstore.interactions.inactive import INACTIVE_TYPES, inactive_issues
from fhirstore.interactions.package_ownership import package_owned
from fhirstore.interactions.profiles import (
    as_stored,
    nested_requirements,
    profile_requirements,
    questionnaire_issues,
)
from fhirstore.interactions.referential_integrity import broken_references, guards_of
from fhirstore.interactions.server import Server, ValidationContext
from fhirstore.interactions.stored_definitions import change_markers
from fhirstore.model.context import RequestContext
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.messages import Message
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.stored import Change, Guard, Record, Stored
from fhirstore.plugins.model import PendingCommit, Write
from fhirstore.search.index import extract
from fhirstore.store.errors import DuplicateKey, GuardChanged, VersionConflict
from fhirstore.validation.validator import downgrade

log = logging.getLogger(__name__)


class Plan(msgspec.Struct, frozen=True):
    """One intended change. change: None if nothing changes; `stored` is the result then.
    has_location: whether a Location header is due; versioned_location: with /_history/<vid>.
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
        location = None
        if self.has_location and stored is not None:
            version = f"/_history/{stored.version}" if self.versioned_location else ""
            location = f"{stored.type}/{stored.id}{version}"
        return Result(self.status, stored, location=location, issues=self.issues)


@dataclass(frozen=True, slots=True)
class Target:
    """The identity of what a write changes, fixed before links between the entries of a transaction are resolved.

    id: of the resource. match: the resource that satisfies the criteria, None if there are no criteria or no match.
    guards: what the commit must find unchanged."""

    id: str
    match: Stored | None = None
    criteria: Criteria | None = None
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The transaction around a write. deleted_ids: by type, the ids that the transaction deletes; criteria do not match
    them. location: FHIRPath of the resource in its Bundle, None for a write of its own."""

    deleted_ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    location: str | None = None


ALONE = Surroundings()


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteInteraction(Interaction):
    """An interaction that changes resources of one type: it is identified, then planned, then committed."""

    is_write: ClassVar[bool] = True
    has_body: ClassVar[bool] = True

    type: str
    body: Body | None = None
    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        body = rest.body if cls.has_body else None
        return cls(**path, body=body, if_match=rest.if_match, if_none_match=rest.if_none_match)

    @abstractmethod
    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        """The identity of what the interaction changes. Raises FhirError 400 or 412."""

    @abstractmethod
    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        """The changes, at least one plan. Reads the store; changes `resource` and nothing else. Raises FhirError."""

    def plan_alone(self, server: Server, request: RequestContext) -> Sequence[Plan]:
        """The plans of a write that is not part of a transaction."""
        resource = self.body.resource() if self.body is not None else {}
        return self.plan(server, request, resource, self.identify(server, request, resource, ALONE))

    def execute(self, server: Server, request: RequestContext) -> Result:
        return commit(server, request, partial(self.plan_alone, server, request))[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalWrite(WriteInteraction):
    """A write of the resources that match criteria. criteria: a query string."""

    criteria: str

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        return cls(
            **path,
            body=rest.body if cls.has_body else None,
            if_match=rest.if_match,
            if_none_match=rest.if_none_match,
            criteria=rest.query or "",
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
        plans, additional, pending = with_plugin_writes(server, request, plans)
        changes = [p.change for p in (*plans, *additional) if p.change is not None]
        guards = [*(g for p in plans for g in p.guards), *pending.guards]
        if server.reference_params:
            plans, kept = check_references(server, plans, changes)
            guards += kept
        records = [*(r for p in (*plans, *additional) for r in p.records), *pending.records]
        records += change_markers(changes)
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
            raise key_in_use(duplicate) from duplicate
        _notify(server, request, stored)
        new_versions = iter(stored)
        return [p.result(next(new_versions) if p.change is not None else p.stored) for p in plans]


def with_plugin_writes(
    server: Server, request: RequestContext, plans: Sequence[Plan]
) -> tuple[Sequence[Plan], list[Plan], PendingCommit]:
    """The plans, the plans of writes that plugins add, and the commit with its additional records and guards.

    An additional write of a resource that a plan changes already replaces that plan's change."""
    pending = PendingCommit(tuple([p.write for p in plans if p.write is not None and p.change is not None]))
    if not pending.writes:
        return plans, [], pending
    for hook, context in server.hooks.complete_commit:
        hook(request, pending, context)
    if not pending.additional_writes:
        return plans, [], pending
    completed, additional = list(plans), []
    positions = {(p.change.type, p.change.id): n for n, p in enumerate(plans) if p.change is not None}
    for write in pending.additional_writes:
        added = _plan_additional(server, request, write)
        position = positions.get((write.type, write.id))
        if position is None:
            additional.append(added)
        else:
            issues = tuple(dict.fromkeys((*plans[position].issues, *added.issues)))
            completed[position] = msgspec.structs.replace(
                plans[position],
                change=added.change,
                stored=added.stored,
                records=added.records,
                issues=issues,
                write=write,
            )
    return completed, additional, pending


def check_references(
    server: Server, plans: Sequence[Plan], changes: Sequence[Change]
) -> tuple[Sequence[Plan], Sequence[Guard]]:
    """The plans with the issues of references that they break, and guards of those that must stay. changes: all of the
    commit. Raises FhirError if the setting `referential_integrity` refuses the commit."""
    after = {f"{change.type}/{change.id}": change for change in changes}
    targets: dict[str, set[str]] = {}
    for plan in plans:
        change = plan.change
        if change is not None and change.index:
            codes = server.reference_params.get(change.type, ())
            found = [entry[0] for code in codes for entry in change.index.get(code, ())]
            local = {target for target in found if target.partition("/")[0] in server.registry.types}
            targets[f"{change.type}/{change.id}"] = local
    unread = set().union(*targets.values()) - after.keys()
    if len(unread) == 1:  # cheaper than `read_many`
        (ref,) = unread
        type, _, id = ref.partition("/")
        one = server.store.read(type, id)
        stored = unread if one is not None and not one.deleted else set()
    else:
        stored = {one.ref for one in server.store.read_many(unread)} if unread else unread
    live = stored.union(ref for ref, change in after.items() if not change.deleted)
    missing = {ref: lost for ref, local in targets.items() if (lost := local - live)}
    guards = guards_of(stored) if server.integrity_level == "enforce" else []
    if missing or len(live) < len(stored) + len(after):
        writes = {f"{p.write.type}/{p.write.id}": p.write for p in plans if p.write is not None}
        broken = broken_references(server, after, missing, writes)
        plans = [_with_issues(plan, broken.issues) for plan in plans]
        guards += broken.guards
    return plans, guards


def _with_issues(plan: Plan, issues: Mapping[str, tuple[Issue, ...]]) -> Plan:
    found = issues.get(f"{plan.change.type}/{plan.change.id}") if plan.change is not None else None
    return plan if found is None else msgspec.structs.replace(plan, issues=(*plan.issues, *found))


def _plan_additional(server: Server, request: RequestContext, write: Write) -> Plan:
    if write.resource is None:
        return plan_deletion(server, request, write)
    try:
        return prepare(server, request, write, status=200)
    except FhirError as problem:
        raise FhirError(problem.status, tuple(_of_additional(write, issue) for issue in problem.issues)) from None


def _of_additional(write: Write, issue: Issue) -> Issue:
    text = Message(
        "{type}/{id}, which changes with this resource, is refused: {reason}",
        type=write.type,
        id=write.id,
        reason=issue.diagnostics,
    )
    return replace(issue, diagnostics=text)


def key_in_use(duplicate: DuplicateKey) -> FhirError:
    """The refusal (409) of a commit whose unique key another resource has."""
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
    for hook, context in server.hooks.after_commit:
        try:
            hook(request, stored, context)
        except Exception:
            log.exception("after_commit of plugin %s failed", context.plugin)


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
    resource, previous = write.resource, write.previous
    assert resource is not None
    refuse_package_owned(server, write.type, write.id, where)
    write.base = server.own_base
    issues: list[Issue] = []
    for hook, context in server.hooks.before_validate:
        issues += hook(request, write, context) or ()
    issues += validate(server, request, write)
    if any(issue.is_error for issue in issues):
        raise FhirError(422, tuple(issues) if where is None else tuple(i.moved(write.type, where) for i in issues))
    for hook, context in server.hooks.before_commit:
        hook(request, write, context)
    meta, body = split(resource)
    issues += write.issues
    has_version = not write.location_without_version
    is_same = previous is not None and not previous.deleted and (previous.meta, previous.body) == (meta, body)
    if is_same and not write.records:
        return Plan(200, None, previous, guards, (), tuple(issues), True, has_version)
    change = Change(
        type=write.type,
        id=write.id,
        replaces=previous.version if previous is not None else None,
        method="POST" if write.interaction == "create" else "PUT",
        meta=meta,
        body=body,
        index=extract_index(server, write.type, resource),
        unique=tuple(write.unique),
    )
    return Plan(status, change, None, guards, tuple(write.records), tuple(issues), True, has_version, write)


def plan_deletion(server: Server, request: RequestContext, write: Write) -> Plan:
    """The plan of a deletion. write.previous: the version that is deleted."""
    previous = write.previous
    assert previous is not None
    write.base = server.own_base
    for hook, context in server.hooks.before_commit:
        hook(request, write, context)
    change = Change(write.type, write.id, previous.version, "DELETE", deleted=True)
    return Plan(204, change, None, records=tuple(write.records), write=write)


def extract_index(server: Server, type: str, resource: dict[str, Any]) -> IndexEntries:
    """The index entries of a resource under the parameters and settings of this deployment."""
    return extract(server.registry.indexed_types.get(type, {}), resource, server.timezone, server.own_base)


def validate(server: ValidationContext, request: RequestContext, write: Write) -> list[Issue]:
    """The issues of the resource by R4, by its profiles, and by the rules of plugins."""
    issues: list[Issue] = []
    requirements: list[ProfileRequirement] = []
    mode = server.settings.validation
    if mode != "off":
        requirements = profile_requirements(server, request, write)
        nested = nested_requirements(server, request, write)
        issues += server.validator.validate(as_stored(write), requirements, nested)
        if mode == "warn":
            issues = downgrade(issues)
            requirements = [replace(r, policy="warn") for r in requirements if r.policy != "off"]
        if write.type == "QuestionnaireResponse":
            issues += questionnaire_issues(server, write, issues)
    if write.type in INACTIVE_TYPES:
        issues += inactive_issues(server.settings, write)
    for hook, context in server.hooks.validate:
        issues += hook(request, write, requirements, context) or ()
    return issues


def refuse_package_owned(server: Server, type: str, id: str, where: str | None = None) -> None:
    """Raises 403 if the resource belongs to a package. where: FHIRPath of the resource in its Bundle."""
    owner = server.package_owners.get(f"{type}/{id}")
    if owner is not None:
        raise package_owned(owner, type, id, where)
