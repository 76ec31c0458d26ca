"""https://hl7.org/fhir/R4/http.html#trules: all entries or none, in the order DELETE, POST, PUT, GET.

Identities are fixed first (conditional criteria are evaluated, new ids assigned), then links between the entries are
rewritten and conditional references resolved, then all writes are validated and committed together. Criteria and
conditional references see the store without the resources that the transaction deletes, and with those that it writes.
GET entries are executed once before the commit, to refuse the transaction if one of them fails, and once after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fhirstore.errors import FhirError, error
from fhirstore.interactions.base import Result, audit, authorize, summary, too_late
from fhirstore.interactions.bundles import (
    BundleEntry,
    MalformedEntry,
    ResponseSpace,
    located,
    read_entries,
)
from fhirstore.interactions.conditional import read_criteria
from fhirstore.interactions.conditional_update import ConditionalUpdate
from fhirstore.interactions.create import Create
from fhirstore.interactions.pending import PendingResource, PendingResources
from fhirstore.interactions.references import Links, rewrite
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import from_store
from fhirstore.interactions.transaction_reads import execute_before_commit, respond_after_commit
from fhirstore.interactions.write import ALONE, Plan, Surroundings, Target, WriteInteraction, commit
from fhirstore.model.conditions import Condition
from fhirstore.model.context import RequestContext
from fhirstore.model.issues import Issue
from fhirstore.model.matching import depends_on_others
from fhirstore.model.messages import Message
from fhirstore.model.stored import Guard
from fhirstore.store.errors import StoreError

_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2}


@dataclass(frozen=True, slots=True)
class _WriteEntry:
    """An entry that writes, with its resource, which planning changes."""

    index: int
    entry: BundleEntry
    interaction: WriteInteraction
    resource: dict[str, Any]


@dataclass(slots=True)
class _Problems:
    """What is wrong with the entries. status: that of the first refusal."""

    status: int = 0
    issues: list[Issue] = field(default_factory=list)

    def add(self, location: str, problem: FhirError) -> None:
        self.status = self.status or problem.status
        self.issues += [located(issue, location) for issue in problem.issues]

    def raise_if_any(self) -> None:
        if any(issue.is_error for issue in self.issues):
            raise FhirError(self.status, tuple(self.issues))


def transaction(
    server: Server,
    request: RequestContext,
    bundle: dict[str, Any],
    again: Callable[[], dict[str, Any]],
    *,
    with_resources: bool,
) -> list[bytes]:
    """The response entries, in the order of the request. again: parses the Bundle again, for another attempt.
    with_resources: whether writes return resources. Raises FhirError; then nothing is stored."""
    started = time.perf_counter()
    parsed = [bundle]
    attempt: _Attempt | None = None

    def plan() -> list[Plan]:
        nonlocal attempt
        limit = server.settings.max_bundle_entries
        source = parsed.pop() if parsed else again()
        attempt = None
        attempt = _Attempt(server, request, read_entries(server.router, source, request.base, again, limit))
        return attempt.plan()

    try:
        results = commit(server, request, plan)
    except Exception as problem:
        if isinstance(problem, StoreError):
            problem = from_store(problem)
        status = problem.status if isinstance(problem, FhirError) else 500
        for entry in attempt.authorized if attempt is not None else ():
            _audit(server, request, entry, status, started)
        raise
    assert attempt is not None
    by_index = attempt.results_by_index(results)
    for write in attempt.writes:
        _audit(server, request, write.entry, by_index[write.index].status, started)
    space = ResponseSpace(server.settings.max_response_bytes)
    return [
        space.of_write(by_index[entry.index], with_resources)
        if entry.index in by_index
        else respond_after_commit(server, request, entry, space, attempt.reads.get(entry.index))
        for entry in attempt.entries
        if isinstance(entry, BundleEntry)
    ]


def _audit(server: Server, request: RequestContext, entry: BundleEntry, status: int, started: float) -> None:
    if server.hooks.audit:
        audit(server, request, summary(entry.rest, entry.interaction), status, time.perf_counter() - started)


def _overlap(write: _WriteEntry, other: int) -> FhirError:
    text = Message(
        "Entries {other} and {index} both change what matches {url}. A transaction changes a resource once.",
        other=other,
        index=write.index,
        url=write.entry.rest.url[:200],
    )
    return error(400, "duplicate", text, f"{write.entry.location}.request.url")


class _Attempt:
    """One attempt to plan the entries. It is discarded when the store changes before the commit."""

    def __init__(self, server: Server, request: RequestContext, entries: Sequence[BundleEntry | MalformedEntry]):
        self.server, self.request, self.entries = server, request, entries
        self.writes: list[_WriteEntry] = []
        self.gets: list[BundleEntry] = []
        self.authorized: list[BundleEntry] = []  # both
        self.reads: dict[int, Result] = {}  # the results of GET entries, if the transaction changes nothing
        self._problems = _Problems()
        self._plans: list[Plan] = []
        self._planned: list[tuple[_WriteEntry, int]] = []  # with the number of its plans, in the order of the plans
        self._targets: dict[int, Target] = {}
        self._duplicate_of: dict[int, int] = {}  # a create -> the earlier entry that creates its resource
        self._by_criteria: dict[tuple[str, Condition], int] = {}  # the entry that creates or updates by these criteria
        self._written: list[PendingResource] = []
        self._pending: PendingResources | None = None  # those of `_written`
        self._links = Links()
        self._deleted_ids: dict[str, frozenset[str]] = {}
        self._updated_refs: set[str] = set()
        self._guards: list[Guard] = []
        self._references: dict[str, str] = {}  # conditional references, resolved

    def plan(self) -> list[Plan]:
        """The plans of all writes. Raises FhirError with the issues of all entries."""
        self._read_entries()
        self._problems.raise_if_any()
        for write in self.writes:
            if write.entry.rest.method == "DELETE":
                self._plan_write(write, ALONE)
        self._note_deleted_ids()
        others = [write for write in self.writes if write.entry.rest.method != "DELETE"]
        for write in others:
            self._attempt(write, self._identify)
        for write in others:
            if isinstance(write.interaction, ConditionalUpdate):
                self._attempt(write, self._refuse_overlap)
        self._problems.raise_if_any()
        linked = [write for write in others if write.index not in self._duplicate_of]
        for write in linked:
            self._attempt(write, self._rewrite_links)
        self._problems.raise_if_any()
        for write in linked:
            self._plan_write(write, Surroundings(self._deleted_ids, f"{write.entry.location}.resource"))
        self._refuse_repeated_changes()
        self._problems.raise_if_any()
        self._execute_reads()
        self._problems.raise_if_any()
        if self._plans and self._guards:
            first = self._plans[0]
            self._plans[0] = msgspec.structs.replace(first, guards=(*first.guards, *self._guards))
        return self._plans

    def results_by_index(self, results: Sequence[Result]) -> dict[int, Result]:
        """The result of each entry that writes. results: those of the plans."""
        found: dict[int, Result] = {}
        remaining = iter(results)
        for write, count in self._planned:
            found[write.index], *_ = [next(remaining) for _ in range(count)]
        for index, earlier in self._duplicate_of.items():
            found[index] = Result(200, found[earlier].stored, location=found[earlier].location)
        return found

    # --- read the entries

    def _read_entries(self) -> None:
        """Sorts the entries by what they do, after authorization; writes in the order in which they are processed."""
        for entry in self.entries:
            if isinstance(entry, MalformedEntry):
                self._problems.add(entry.location, entry.problem)
            elif entry.rest.method == "GET":
                self.gets.append(entry)
            elif isinstance(entry.interaction, WriteInteraction):
                self.writes.append(_WriteEntry(entry.index, entry, entry.interaction, entry.resource or {}))
            else:
                text = Message(
                    "{method} {url} is not possible in a transaction. Use a batch.",
                    method=entry.rest.method,
                    url=entry.rest.url[:200],
                )
                self._problems.add(entry.location, error(400, "not-supported", text, f"{entry.location}.request"))
        self.authorized = [*(write.entry for write in self.writes), *self.gets]
        for entry in self.authorized:
            try:
                if self.server.hooks.authorize:
                    authorize(self.server, self.request, entry.rest, entry.interaction)
                entry.interaction.check_served(self.server)
            except FhirError as problem:
                self._problems.add(entry.location, problem)
        self.writes.sort(key=lambda write: (_ORDER[write.entry.rest.method], write.index))

    def _attempt(self, write: _WriteEntry, step: Callable[[_WriteEntry], None]) -> None:
        self._check_deadline()
        try:
            step(write)
        except FhirError as problem:
            self._problems.add(write.entry.location, problem)

    def _check_deadline(self) -> None:
        if self.request.deadline is not None and time.monotonic() > self.request.deadline:
            raise too_late()

    # --- identities

    def _note_deleted_ids(self) -> None:
        for plan in self._plans:
            if plan.change is not None:
                ids = self._deleted_ids.get(plan.change.type, frozenset())
                self._deleted_ids[plan.change.type] = ids | {plan.change.id}

    def _identify(self, write: _WriteEntry) -> None:
        """Fixes the identity of the entry, and how other entries may refer to it."""
        interaction = write.interaction
        around = Surroundings(self._deleted_ids)
        target = interaction.identify(self.server, self.request, write.resource, around)
        earlier = None if target.criteria is None else self._same_resource(write, target)
        if earlier is not None:
            self._duplicate_of[write.index] = earlier
            target = self._targets[earlier]
        elif target.match is None or not isinstance(interaction, Create):
            self._written.append(PendingResource(write.index, interaction.type, target.id, write.resource))
        if not isinstance(interaction, Create):
            self._updated_refs.add(f"{interaction.type}/{target.id}")
        self._targets[write.index] = target
        self._note_links(write, target)

    def _matching_written(self, type: str, where: Condition) -> list[PendingResource]:
        """The resources that entries write, among those identified so far, that satisfy a condition."""
        if not self._written:
            return []
        if self._pending is None:
            self._pending = PendingResources(self.server, self._written)
        return self._pending.matching(type, where)

    def _same_resource(self, write: _WriteEntry, target: Target) -> int | None:
        """The earlier entry that creates the resource which a conditional create asks for.

        Raises 412 if the criteria match several resources, and 400 for a conditional update with the criteria of
        another entry that changes a resource."""
        interaction, criteria = write.interaction, target.criteria
        assert criteria is not None
        key = (interaction.type, criteria.where)
        if not isinstance(interaction, Create):
            other = self._by_criteria.setdefault(key, write.index)
            if other != write.index:
                raise _overlap(write, other)
            return None
        if target.match is None and key in self._by_criteria:
            return self._by_criteria[key]
        created = self._matching_written(interaction.type, criteria.where)
        if len(created) + (target.match is not None) > 1:
            raise criteria.several(len(created) + (target.match is not None))
        if created:
            return created[0].index
        if target.match is None:
            self._by_criteria[key] = write.index
        return None

    def _refuse_overlap(self, write: _WriteEntry) -> None:
        """Raises 400 if the criteria of a conditional update match a resource that another entry writes: "If any
        resource identities (including resolved identities from conditional update/delete) overlap, … then the
        transaction SHALL fail"."""
        target = self._targets.get(write.index)
        if target is None or target.criteria is None:
            return
        for other in self._matching_written(write.interaction.type, target.criteria.where):
            if other.index != write.index:
                raise _overlap(write, other.index)

    def _note_links(self, write: _WriteEntry, target: Target) -> None:
        full_url, links = write.entry.full_url, self._links
        if full_url is None:
            return
        if full_url in links.targets and write.index not in self._duplicate_of:
            text = Message("Two entries have the fullUrl {full_url}.", full_url=full_url)
            raise error(400, "duplicate", text, f"{write.entry.location}.fullUrl")
        type = write.interaction.type
        reference = links.targets[full_url] = f"{type}/{target.id}"
        if write.entry.rest.method != "POST":
            return
        # "A client can use arbitrarily chosen version references since they will all be re-assigned anyway."
        version = links.versions[full_url] = str(target.match.version) if target.match is not None else "1"
        relative = "/".join(full_url.split("/")[-2:])
        if relative.startswith(f"{type}/"):
            # A relative reference means the entry whose fullUrl it completes (bundle.html#references).
            links.targets.setdefault(relative, reference)
            links.versions.setdefault(relative, version)

    # --- plans

    def _plan_write(self, write: _WriteEntry, around: Surroundings) -> None:
        server, request, resource = self.server, self.request, write.resource
        self._check_deadline()
        try:
            target = self._targets.get(write.index) or write.interaction.identify(server, request, resource, around)
            plans = write.interaction.plan(server, request, resource, target, around)
        except FhirError as problem:
            self._problems.add(write.entry.location, problem)
            return
        self._plans += plans
        self._planned.append((write, len(plans)))

    def _rewrite_links(self, write: _WriteEntry) -> None:
        rewrite(self.server.registry.catalog.core, write.resource, self._links, self._resolve)

    def _resolve(self, reference: str) -> str:
        """The "Type/id" of a conditional reference, which must match exactly one resource."""
        if reference not in self._references:
            type, _, text = reference.partition("?")
            if type not in self.server.registry.types:
                text = Message(
                    "The type of the conditional reference {reference} is not supported by this server.",
                    reference=reference,
                )
                raise error(422, "not-found", text)
            criteria = read_criteria(self.server, self.request, type, text, None, self._deleted_ids)
            matches = criteria.matches(self.server)
            written = self._matching_written(type, criteria.where)
            replaced = frozenset() if depends_on_others(criteria.where) else self._updated_refs
            match = criteria.choose(self.server, [one for one in matches if one.ref not in replaced])
            if len(written) + (match is not None) > 1:
                raise criteria.several(len(written) + (match is not None))
            if match is None and not written:
                raise error(
                    412,
                    "not-found",
                    Message("The conditional reference {reference} does not match any resource.", reference=reference),
                )
            self._guards.append(criteria.guard(matches))
            self._references[reference] = match.ref if match is not None else written[0].ref
        return self._references[reference]

    def _refuse_repeated_changes(self) -> None:
        seen: dict[tuple[str, str], int] = {}
        remaining = iter(self._plans)
        for write, count in self._planned:
            for _ in range(count):
                change = next(remaining).change
                if change is None:
                    continue
                other = seen.setdefault((change.type, change.id), write.index)
                if other != write.index:
                    text = Message(
                        "Entries {other} and {index} both change {type}/{id}. A transaction changes a resource once.",
                        other=other,
                        index=write.index,
                        type=change.type,
                        id=change.id,
                    )
                    self._problems.add(write.entry.location, error(400, "duplicate", text))

    # --- reads

    def _execute_reads(self) -> None:
        """Refuses the transaction if one of its GET entries fails."""
        changes = {(p.change.type, p.change.id): p.change for p in self._plans if p.change is not None}
        space = ResponseSpace(self.server.settings.max_response_bytes)
        for entry in self.gets:
            self._check_deadline()
            try:
                result = execute_before_commit(self.server, self.request, entry, changes)
                if result is not None:
                    space.of_read(result)
            except FhirError as problem:
                self._problems.add(entry.location, problem)
            else:
                if result is not None and not changes:
                    self.reads[entry.index] = result
