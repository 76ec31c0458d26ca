"""https://hl7.org/fhir/R4/http.html#trules: all entries or none, in the order DELETE, POST, PUT, GET.

Identities are fixed first (conditional criteria are evaluated, new ids assigned), then links between the entries are
rewritten, then all writes are validated and committed together. Conditional criteria see the store before the
transaction, without what the transaction itself deletes. GET entries are answered after the commit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fhirstore.errors import FhirError, error
from fhirstore.interactions.base import Result, audit, authorize, summary
from fhirstore.interactions.bundles import (
    BundleEntry,
    MalformedEntry,
    located,
    read_entries,
    respond_to_entry,
    response_entry,
)
from fhirstore.interactions.conditional import read_criteria
from fhirstore.interactions.create import Create
from fhirstore.interactions.references import rewrite
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import from_store
from fhirstore.interactions.write import ALONE, Plan, Surroundings, Target, WriteInteraction, commit
from fhirstore.model.context import RequestContext
from fhirstore.model.issues import Issue
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
    attempt = _Attempt(server, request, [])

    def plan() -> list[Plan]:
        nonlocal attempt
        limit = server.settings.max_bundle_entries
        source = parsed.pop() if parsed else again()
        attempt = _Attempt(server, request, read_entries(server.router, source, request.base, again, limit))
        return attempt.plan()

    try:
        results = commit(server, request, plan)
    except Exception as problem:
        status = _status_of(problem)
        _audit(server, request, attempt.writes, lambda write: status, started)
        raise
    by_index = attempt.results_by_index(results)
    _audit(server, request, attempt.writes, lambda write: by_index[write.index].status, started)
    return [
        response_entry(by_index[entry.index], with_resources)
        if entry.index in by_index
        else respond_to_entry(server, request, entry, with_resources)
        for entry in attempt.entries
    ]


def _status_of(problem: Exception) -> int:
    """The HTTP status that the failure of a transaction has."""
    if isinstance(problem, StoreError):
        problem = from_store(problem)
    return problem.status if isinstance(problem, FhirError) else 500


def _audit(
    server: Server,
    request: RequestContext,
    writes: Sequence[_WriteEntry],
    status: Callable[[_WriteEntry], int],
    started: float,
) -> None:
    if server.hooks.audit:
        seconds = time.perf_counter() - started
        for write in writes:
            audit(server, request, summary(write.entry.rest, write.interaction), status(write), seconds)


class _Attempt:
    """One attempt to plan the entries. It is discarded when the store changes before the commit."""

    def __init__(self, server: Server, request: RequestContext, entries: Sequence[BundleEntry | MalformedEntry]):
        self.server, self.request, self.entries = server, request, entries
        self.writes: list[_WriteEntry] = []
        self._problems = _Problems()
        self._plans: list[Plan] = []
        self._planned: list[tuple[_WriteEntry, int]] = []  # with the number of its plans, in the order of the plans
        self._targets: dict[int, Target] = {}
        self._duplicate_of: dict[int, int] = {}  # entry -> the earlier entry with the same If-None-Exist
        self._links: dict[str, str] = {}  # what entries may refer to -> "Type/id"
        self._deleted_ids: dict[str, frozenset[str]] = {}
        self._guards: list[Guard] = []
        self._references: dict[str, str] = {}  # conditional references, resolved

    def plan(self) -> list[Plan]:
        """The plans of all writes. Raises FhirError with the issues of all entries."""
        self.writes = self._read_writes()
        self._problems.raise_if_any()
        for write in self.writes:
            if write.entry.rest.method == "DELETE":
                self._plan_write(write, ALONE)
        self._note_deleted_ids()
        others = [write for write in self.writes if write.entry.rest.method != "DELETE"]
        for write in others:
            self._attempt(write, self._identify)
        self._problems.raise_if_any()
        linked = [write for write in others if write.index not in self._duplicate_of]
        for write in linked:
            self._attempt(write, self._rewrite_links)
        self._problems.raise_if_any()
        for write in linked:
            self._plan_write(write, Surroundings(self._deleted_ids, f"{write.entry.location}.resource"))
        self._refuse_repeated_changes()
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

    def _read_writes(self) -> list[_WriteEntry]:
        """The entries that write, in the order in which they are processed, after authorization."""
        found: list[_WriteEntry] = []
        for entry in self.entries:
            if isinstance(entry, MalformedEntry):
                self._problems.add(entry.location, entry.problem)
            elif entry.rest.method == "GET":
                continue
            elif isinstance(entry.interaction, WriteInteraction):
                found.append(_WriteEntry(entry.index, entry, entry.interaction, entry.resource or {}))
            else:
                text = Message(
                    "{method} {url} is not possible in a transaction. Use a batch.",
                    method=entry.rest.method,
                    url=entry.rest.url[:200],
                )
                self._problems.add(entry.location, error(400, "not-supported", text, f"{entry.location}.request"))
        for write in found:
            try:
                if self.server.hooks.authorize:
                    authorize(self.server, self.request, write.entry.rest, write.interaction)
                write.interaction.check_served(self.server)
            except FhirError as problem:
                self._problems.add(write.entry.location, problem)
        return sorted(found, key=lambda write: (_ORDER[write.entry.rest.method], write.index))

    def _attempt(self, write: _WriteEntry, step: Callable[[_WriteEntry], None]) -> None:
        try:
            step(write)
        except FhirError as problem:
            self._problems.add(write.entry.location, problem)

    def _plan_write(self, write: _WriteEntry, around: Surroundings) -> None:
        server, request, resource = self.server, self.request, write.resource
        try:
            target = self._targets.get(write.index) or write.interaction.identify(server, request, resource, around)
            plans = write.interaction.plan(server, request, resource, target, around)
        except FhirError as problem:
            self._problems.add(write.entry.location, problem)
            return
        self._plans += plans
        self._planned.append((write, len(plans)))

    def _note_deleted_ids(self) -> None:
        for plan in self._plans:
            if plan.change is not None:
                ids = self._deleted_ids.get(plan.change.type, frozenset())
                self._deleted_ids[plan.change.type] = ids | {plan.change.id}

    def _identify(self, write: _WriteEntry) -> None:
        """Fixes the identity of the entry, and how other entries may refer to it."""
        earlier = self._same_conditional_create(write)
        if earlier is not None:
            self._duplicate_of[write.index] = earlier
            target = self._targets[earlier]
        else:
            around = Surroundings(self._deleted_ids)
            target = write.interaction.identify(self.server, self.request, write.resource, around)
        self._targets[write.index] = target
        self._note_links(write, f"{write.interaction.type}/{target.id}")

    def _same_conditional_create(self, write: _WriteEntry) -> int | None:
        """The earlier entry that creates under the same criteria."""
        mine = write.interaction
        if not isinstance(mine, Create) or mine.if_none_exist is None:
            return None
        for other in self.writes:
            interaction = other.interaction
            is_earlier = other.index in self._targets and other.index not in self._duplicate_of
            if (
                is_earlier
                and isinstance(interaction, Create)
                and (interaction.type, interaction.if_none_exist) == (mine.type, mine.if_none_exist)
            ):
                return other.index
        return None

    def _note_links(self, write: _WriteEntry, reference: str) -> None:
        full_url = write.entry.full_url
        if full_url is None:
            return
        if full_url in self._links and write.index not in self._duplicate_of:
            text = Message("Two entries have the fullUrl {full_url}.", full_url=full_url)
            raise error(400, "duplicate", text, f"{write.entry.location}.fullUrl")
        self._links[full_url] = reference
        relative = "/".join(full_url.split("/")[-2:])
        if write.entry.rest.method == "POST" and relative.startswith(f"{write.interaction.type}/"):
            # A relative reference means the entry whose fullUrl it completes (bundle.html#references).
            self._links.setdefault(relative, reference)

    def _rewrite_links(self, write: _WriteEntry) -> None:
        rewrite(write.resource, self._links, self._resolve)

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
            match = criteria.choose(self.server, matches)
            if match is None:
                raise error(
                    412,
                    "not-found",
                    Message("The conditional reference {reference} does not match any resource.", reference=reference),
                )
            self._guards.append(criteria.guard(matches))
            self._references[reference] = match.ref
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
