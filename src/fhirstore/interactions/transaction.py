"""https://hl7.org/fhir/R4/http.html#transaction: all entries or none, in the order DELETE, POST, PUT, GET.

Identities are fixed first (conditional criteria are looked up, new ids are given), then links between the entries
are rewritten, then everything is validated and committed at once. Conditional criteria see the store as it was
before the transaction, less what the transaction itself deletes. GET entries are answered after the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from fhirstore.errors import FhirError, Issue, error
from fhirstore.interactions.conditional import Criteria, read_criteria
from fhirstore.interactions.context import Server
from fhirstore.interactions.create import plan_create
from fhirstore.interactions.delete import plan_conditional_delete, plan_delete
from fhirstore.interactions.entry import BundleEntry, error_entry, get, placed, read_entries, response_entry, unknown
from fhirstore.interactions.references import rewrite
from fhirstore.interactions.result import Result
from fhirstore.interactions.update import check_id, plan_conditional_update, plan_update
from fhirstore.interactions.write import Plan, commit, new_id
from fhirstore.model.stored import Guard

ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "GET": 3, "HEAD": 3}


@dataclass(slots=True)
class _State:
    """ids: link -> "Type/id". gone: type -> ids deleted here. criteria: by entry number. same: entry -> the earlier
    entry with the same If-None-Exist. issues: what is wrong so far."""

    ids: dict[str, str] = field(default_factory=dict)
    given: dict[int, str] = field(default_factory=dict)
    gone: dict[str, frozenset[str]] = field(default_factory=dict)
    criteria: dict[int, Criteria] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    status: int = 0

    def note(self, entry: BundleEntry, problem: FhirError) -> None:
        self.status = self.status or problem.status
        self.issues += [placed(i, entry.where) for i in problem.issues]

    def refuse_if_wrong(self) -> None:
        if any(i.is_error for i in self.issues):
            raise FhirError(self.status, tuple(self.issues))


def transaction(
    ctx: Server, base: str, bundle: dict[str, Any], fresh: Callable[[], dict[str, Any]], *, with_resource: bool
) -> list[bytes]:
    """The response entries, in the order of the request. Raises FhirError; then nothing was stored."""
    layout: list[tuple[int, int]] = []  # (entry, number of its plans), as planned last
    entries: list[BundleEntry] = []
    state = _State()
    first: list[dict[str, Any]] = [bundle]

    def plan() -> list[Plan]:
        nonlocal entries, state
        entries = read_entries(ctx, first.pop() if first else fresh(), base)
        plans, state = _plan(ctx, entries, layout)
        return plans

    results = iter(commit(ctx, plan))
    answers: dict[int, bytes] = {}
    by_entry: dict[int, Result] = {}
    for n, many in layout:
        mine = [next(results) for _ in range(many)]
        by_entry[n] = mine[0]
        answers[n] = response_entry(mine[0], with_resource)
    for n, earlier in state.same.items():
        twin = by_entry[earlier]
        answers[n] = response_entry(Result(200, twin.stored, has_location=True), with_resource)
    for entry in entries:
        if entry.n not in answers:
            answers[entry.n] = _read_after(ctx, base, entry)
    return [answers[e.n] for e in entries]


def _read_after(ctx: Server, base: str, entry: BundleEntry) -> bytes:
    try:
        return get(ctx, base, entry)
    except FhirError as problem:
        return error_entry(entry, problem)


def _plan(ctx: Server, entries: Sequence[BundleEntry], layout: list[tuple[int, int]]) -> tuple[list[Plan], _State]:
    state = _State()
    layout.clear()
    ordered = sorted((e for e in entries if ORDER[e.method] < 3), key=lambda e: (ORDER[e.method], e.n))
    plans: list[Plan] = []
    deletions = [e for e in ordered if e.method == "DELETE"]
    for entry in deletions:
        _collect(ctx, state, entry, plans, layout, partial(_delete, ctx, entry))
    for p in plans:
        if p.change is not None:
            state.gone[p.change.type] = state.gone.get(p.change.type, frozenset()) | {p.change.id}
    writes = [e for e in ordered if e.method != "DELETE"]
    for entry in writes:
        try:
            _identify(ctx, state, entry)
        except FhirError as problem:
            state.note(entry, problem)
    state.refuse_if_wrong()
    links = _Links(ctx, state)
    for entry in writes:
        if entry.n in state.same:
            continue
        assert entry.resource is not None
        try:
            rewrite(entry.resource, state.ids, links.resolve)
        except FhirError as problem:
            state.note(entry, problem)
            continue
        _collect(ctx, state, entry, plans, layout, partial(_write, ctx, state, entry))
    _refuse_twice(plans, layout, state)
    state.refuse_if_wrong()
    if plans and state.guards:
        plans[0] = replace(plans[0], guards=(*plans[0].guards, *state.guards))
    return plans, state


def _collect(
    ctx: Server,
    state: _State,
    entry: BundleEntry,
    plans: list[Plan],
    layout: list[tuple[int, int]],
    make: Callable[[], list[Plan]],
) -> None:
    try:
        made = make()
    except FhirError as problem:
        state.note(entry, problem)
        return
    plans += made
    layout.append((entry.n, len(made)))


def _delete(ctx: Server, entry: BundleEntry) -> list[Plan]:
    if len(entry.path) == 2:
        return [plan_delete(ctx, entry.type, entry.path[1], entry.if_match)]
    if len(entry.path) == 1 and entry.query is not None:
        return plan_conditional_delete(ctx, entry.type, read_criteria(ctx, entry.type, entry.query))
    raise unknown(entry)


def _identify(ctx: Server, state: _State, entry: BundleEntry) -> None:
    """Gives the entry its identity and remembers how others may link to it."""
    type, gone = entry.type, state.gone.get(entry.type, frozenset())
    if entry.method == "POST" and len(entry.path) == 1 and entry.query is None:
        id = new_id()
        if entry.if_none_exist is not None:
            criteria = read_criteria(ctx, type, entry.if_none_exist, entry.resource, gone)
            twin = next((n for n, c in state.criteria.items() if (c.type, c.text) == (type, criteria.text)), None)
            if twin is not None:
                state.same[entry.n] = twin
                id = state.given[twin]
            else:
                found = criteria.one(ctx)
                state.criteria[entry.n] = criteria
                id = found.id if found is not None else id
    elif entry.method == "PUT" and len(entry.path) == 2:
        id = entry.path[1]
        check_id(type, id)
    elif entry.method == "PUT" and len(entry.path) == 1 and entry.query is not None:
        criteria = state.criteria[entry.n] = read_criteria(ctx, type, entry.query, entry.resource, gone)
        found = criteria.one(ctx)
        own = None if criteria.match.ignore_body_id else (entry.resource or {}).get("id")
        id = found.id if found is not None else own if isinstance(own, str) else new_id()
    else:
        raise unknown(entry)
    state.given[entry.n] = id
    if entry.full_url is not None:
        if entry.full_url in state.ids and entry.n not in state.same:
            raise error(400, "duplicate", f"fullUrl {entry.full_url} stands twice.", f"{entry.where}.fullUrl")
        state.ids[entry.full_url] = f"{type}/{id}"
        relative = "/".join(entry.full_url.split("/")[-2:])
        if entry.method == "POST" and relative.startswith(f"{type}/"):
            # A relative reference means the entry whose fullUrl it completes (bundle.html#references).
            state.ids.setdefault(relative, f"{type}/{id}")


def _write(ctx: Server, state: _State, entry: BundleEntry) -> list[Plan]:
    resource, criteria, id = entry.resource, state.criteria.get(entry.n), state.given[entry.n]
    assert resource is not None
    where = f"{entry.where}.resource"
    if entry.method == "POST":
        return [plan_create(ctx, entry.type, resource, criteria, id=id, where=where)]
    if criteria is not None:
        return [plan_conditional_update(ctx, entry.type, resource, criteria, entry.if_match, id=id, where=where)]
    return [plan_update(ctx, entry.type, id, resource, entry.if_match, where)]


class _Links:
    """Conditional references: each is looked up once, must match exactly one resource, and is guarded."""

    def __init__(self, ctx: Server, state: _State):
        self.ctx, self.state = ctx, state
        self.known: dict[str, str] = {}

    def resolve(self, reference: str) -> str:
        if reference not in self.known:
            type, _, text = reference.partition("?")
            if type not in self.ctx.registry.types:
                raise error(422, "not-found", f"The conditional reference {reference} names a type not served here.")
            criteria = read_criteria(self.ctx, type, text, None, self.state.gone.get(type, frozenset()))
            seen = criteria.matches(self.ctx)
            found = criteria.choose(self.ctx, seen)
            if found is None:
                raise error(412, "not-found", f"The conditional reference {reference} matches nothing.")
            self.state.guards.append(criteria.guard(seen))
            self.known[reference] = found.ref
        return self.known[reference]


def _refuse_twice(plans: Sequence[Plan], layout: Sequence[tuple[int, int]], state: _State) -> None:
    seen: dict[tuple[str, str], int] = {}
    at = iter(plans)
    for n, many in layout:
        for _ in range(many):
            change = next(at).change
            if change is None:
                continue
            other = seen.setdefault((change.type, change.id), n)
            if other != n:
                ref = f"{change.type}/{change.id}"
                text = f"Entries {other} and {n} both change {ref}; a transaction changes a resource once."
                state.status = state.status or 400
                state.issues.append(Issue("error", "duplicate", text, (f"Bundle.entry[{n}]",)))
