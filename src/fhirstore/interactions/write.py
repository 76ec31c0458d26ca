"""How every write is made: plan it, commit it, plan again if the store changed meanwhile.

A plan says which version it replaces and what it saw (guards); the commit refuses when that no longer holds, so no
update is lost and twenty parallel conditional creates give one resource
(https://hl7.org/fhir/R4/http.html#concurrency).
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
from fhirstore.interactions.context import NO_REQUEST, Server, ValidationContext
from fhirstore.interactions.package_ownership import refuse_package_owned
from fhirstore.interactions.profiles import claims_within, demands
from fhirstore.interactions.rest import Result
from fhirstore.interactions.stored_terminology import change_markers
from fhirstore.model.context import RequestContext
from fhirstore.model.indexing import IndexEntries
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
    """One intended change. change None: nothing is to be written and `stored` is the answer. write: what the change was
    made from; None for those that are no plugin's business."""

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
    """A UUID whose first half is the time (UUIDv7, RFC 9562), so that neighbours in time are neighbours on disk."""
    milliseconds = time.time_ns() // 1_000_000
    random = uuid.uuid4().int
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | 7 << 76 | (random >> 64 & 0xFFF) << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | random & 0x3FFFFFFFFFFFFFFF))


def commit(server: Server, request: RequestContext, plan: Callable[[], Sequence[Plan]]) -> list[Result]:
    """Plans and commits until the plans hold. `plan` is called again after a conflict and must look at the store
    afresh. Raises what `plan` raises, and 409 when a unique key is taken or rivals never let go."""
    give_up = time.monotonic() + server.settings.write_timeout_s
    if request.deadline is not None:
        give_up = min(give_up, request.deadline)
    while True:
        plans = plan()
        if all(p.change is None for p in plans):
            return [p.result(p.stored) for p in plans]
        plans, further, added = _with_plugin_writes(server, request, plans)
        changes = [p.change for p in (*plans, *further) if p.change is not None]
        guards = [*(g for p in plans for g in p.guards), *added.guards]
        records = [*(r for p in (*plans, *further) for r in p.records), *added.records, *change_markers(changes)]
        try:
            stored = server.store.commit(changes, guards, records)
        except (VersionConflict, GuardChanged) as conflict:
            if time.monotonic() > give_up:
                raise error(
                    409, "conflict", f"Other writers kept changing the same resource: {conflict}."
                ) from conflict
            continue
        except DuplicateKey as duplicate:
            raise _duplicate(duplicate) from duplicate
        _notify(server, request, stored)
        fresh = iter(stored)
        return [p.result(next(fresh) if p.change is not None else p.stored) for p in plans]


def dry_run(server: Server, request: RequestContext, plan: Plan) -> None:
    """Raises what a commit of the plan would be refused with: by plugins that add to it, and for a unique key that is
    taken. Nothing is stored."""
    if plan.change is None:
        return
    plans, further, _ = _with_plugin_writes(server, request, [plan])
    changes = [p.change for p in (*plans, *further) if p.change is not None]
    written = {f"{c.type}/{c.id}" for c in changes}
    for change in changes:
        for key in change.unique:
            holder = server.store.unique_key_owner(key)
            if holder is not None and holder not in written:
                raise _duplicate(DuplicateKey(key, change.type, change.id, holder))


def _with_plugin_writes(
    server: Server, request: RequestContext, plans: Sequence[Plan]
) -> tuple[Sequence[Plan], list[Plan], PendingCommit]:
    """(the plans, the plans of what plugins add, what else they add). Raises what they raise, and what is wrong with
    the writes that they add."""
    together = PendingCommit(tuple(p.write for p in plans if p.write is not None and p.change is not None))
    hook = server.plugins.hook.complete_commit
    if not together.writes or not hook.get_hookimpls():
        return plans, [], together
    hook(request=request, commit=together, context=server.contexts)
    kept, further = list(plans), []
    for write in together.additional_writes:
        made = _plan_additional(server, request, write)
        at = next(
            (n for n, p in enumerate(plans) if p.change and (p.change.type, p.change.id) == (write.type, write.id)),
            None,
        )
        if at is None:
            further.append(made)
        else:
            issues = tuple(dict.fromkeys((*plans[at].issues, *made.issues)))
            kept[at] = replace(
                plans[at], change=made.change, stored=made.stored, records=made.records, issues=issues, write=write
            )
    return kept, further, together


def _plan_additional(server: Server, request: RequestContext, write: Write) -> Plan:
    if write.resource is None:
        return plan_deletion(server, request, write)
    try:
        return prepare(server, request, write, status=200)
    except FhirError as problem:
        told = (
            f"{write.type}/{write.id}, which changes along with this, is refused: {i.diagnostics}"
            for i in problem.issues
        )
        issues = tuple(replace(i, diagnostics=text) for i, text in zip(problem.issues, told, strict=True))
        raise FhirError(problem.status, issues) from None


def _duplicate(duplicate: DuplicateKey) -> FhirError:
    what = duplicate.key.replace("|", " ", 1)
    return error(
        409, "duplicate", f"{what} is already used by {duplicate.owner}; it must be unique.", f"{duplicate.type}"
    )


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
    """A create or update, made ready for the store: normalised, validated, indexed.

    where: FHIRPath of the resource inside its Bundle, for messages. Raises 422 with all issues found, 403 when the
    resource belongs to a package."""
    resource = write.resource
    assert resource is not None
    refuse_package_owned(server.owned, write.type, write.id, where)
    write.base = _base(server)
    notes = normalise(server, write)
    notes += judge(server, write)
    if any(i.is_error for i in notes):
        raise FhirError(422, tuple(notes) if where is None else tuple(_moved(i, write.type, where) for i in notes))
    server.plugins.hook.before_commit(request=request, write=write, context=server.contexts)
    meta, body = split(resource)
    previous = write.previous
    issues = (*notes, *write.issues)
    if (
        previous is not None
        and not previous.deleted
        and previous.meta == meta
        and previous.body == body
        and not write.records
    ):
        return Plan(
            200,
            None,
            previous,
            guards,
            (),
            issues,
            has_location=True,
            versioned_location=not write.location_without_version,
        )
    index = extract_index(server, write.type, resource)
    change = Change(
        type=write.type,
        id=write.id,
        replaces=previous.version if previous is not None else None,
        method="POST" if write.interaction == "create" else "PUT",
        meta=meta,
        body=body,
        index=index,
        unique=tuple(write.unique),
    )
    return Plan(
        status,
        change,
        None,
        guards,
        tuple(write.records),
        issues,
        has_location=True,
        versioned_location=not write.location_without_version,
        write=write,
    )


def plan_deletion(server: Server, request: RequestContext, write: Write) -> Plan:
    """A deletion, made ready for the store. write.previous: the version that is deleted."""
    previous = write.previous
    assert previous is not None
    write.base = _base(server)
    server.plugins.hook.before_commit(request=request, write=write, context=server.contexts)
    change = Change(write.type, write.id, previous.version, "DELETE", deleted=True)
    return Plan(204, change, None, records=tuple(write.records), write=write)


def extract_index(server: Server, type: str, resource: dict[str, Any]) -> IndexEntries:
    """The index entries of a resource under this deployment's parameters and settings."""
    settings = server.settings
    params = server.registry.indexed_types.get(type, {})
    return extract(params, resource, ZoneInfo(settings.timezone), _base(server))


def _base(server: Server) -> str | None:
    return server.settings.base_url.rstrip("/") if server.settings.base_url else None


def normalise(server: Server, write: Write) -> list[Issue]:
    """Lets the plugins normalise the resource, in place; answers what they say about it. Raises what they raise."""
    answers = server.plugins.hook.before_validate(request=NO_REQUEST, write=write, context=server.contexts)
    return [issue for found in answers for issue in found or ()]


def judge(server: ValidationContext, write: Write) -> list[Issue]:
    """What is wrong with the resource by R4, its profiles and the plugins' rules."""
    found: list[Issue] = []
    wanted: list[ProfileRequirement] = []
    mode = server.settings.validation
    if mode != "off":
        wanted = demands(server, write)
        found += server.conformance.validate(write.resource, wanted, claims_within(server, write))
        if mode == "warn":
            found = downgrade(found)
            wanted = [replace(demand, policy="warn") for demand in wanted if demand.policy != "off"]
    return found + plugin_issues(server, write, wanted)


def plugin_issues(server: ValidationContext, write: Write, wanted: Sequence[ProfileRequirement]) -> list[Issue]:
    """What the plugins' rules say of a resource that is checked against these profiles."""
    answers = server.plugins.hook.validate(
        request=NO_REQUEST, write=write, requirements=wanted, context=server.contexts
    )
    return [issue for found in answers for issue in found or ()]


def _moved(issue: Issue, type: str, where: str) -> Issue:
    """The issue with its expressions re-rooted from the resource to its place in the Bundle."""
    moved = tuple(where + e[len(type) :] if e.split(".")[0].split("[")[0] == type else e for e in issue.expression)
    return replace(issue, expression=moved or (where,))


def check_type(type: str, resource: dict[str, Any]) -> None:
    """Raises 400 unless the body is a resource of the type in the URL."""
    given = resource.get("resourceType")
    if given != type:
        text = f"resourceType is {given!r}" if given is not None else "resourceType is missing"
        raise error(400, "invalid", f"{text}; the URL says {type}.", f"{type}.resourceType" if given else type)
