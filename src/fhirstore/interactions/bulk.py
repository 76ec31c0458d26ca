"""Many resources at once, for loading: each validated and indexed as any write, committed by the hundred."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from fhirstore.errors import FhirError, Issue, error
from fhirstore.interactions.context import Server
from fhirstore.interactions.create import plan_create
from fhirstore.interactions.update import plan_update
from fhirstore.interactions.write import Plan, commit

SIZE = 200

Outcome = tuple[str, tuple[Issue, ...] | None]


def put_many(ctx: Server, resources: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """("Type/id", None) for each resource stored, ("Type/id" or "Type", issues) for each refused, in order.

    A resource with an id is created or replaced under it; one without is created. Resources are stored in groups:
    a group is durable when its first outcome comes back. The dicts given are left as they are."""
    group: list[dict[str, Any]] = []
    ids: set[tuple[Any, Any]] = set()
    for resource in resources:
        name = (resource.get("resourceType"), resource.get("id"))
        # One commit changes a resource once; its second version goes into the next group.
        if len(group) == SIZE or (name[1] is not None and name in ids):
            yield from _store(ctx, group)
            group, ids = [], set()
        group.append(resource)
        ids.add(name)
    if group:
        yield from _store(ctx, group)


def _store(ctx: Server, group: list[dict[str, Any]]) -> list[Outcome]:
    """Commits the group at once; where one resource spoils the commit (a unique key, a rival), one by one."""
    try:
        return _commit(ctx, group)
    except FhirError as problem:
        if len(group) == 1:
            return [(_name(group[0]), problem.issues)]
    return [outcome for resource in group for outcome in _store(ctx, [resource])]


def _commit(ctx: Server, group: list[dict[str, Any]]) -> list[Outcome]:
    refused: dict[int, tuple[Issue, ...]] = {}
    accepted: list[int] = []

    def plan() -> list[Plan]:
        refused.clear()
        accepted.clear()
        plans: list[Plan] = []
        for n, resource in enumerate(group):
            try:
                plans.append(_plan(ctx, copy.deepcopy(resource)))
                accepted.append(n)
            except FhirError as problem:
                refused[n] = problem.issues
        return plans

    done = commit(ctx, plan)
    results = dict(zip(accepted, done, strict=True))
    return [
        (_name(resource), refused[n]) if n in refused else (_ref(results[n].stored, resource), None)
        for n, resource in enumerate(group)
    ]


def _plan(ctx: Server, resource: dict[str, Any]) -> Plan:
    type, id = resource.get("resourceType"), resource.get("id")
    if not isinstance(type, str):
        raise error(400, "required", "resourceType is missing.")
    if id is None:
        return plan_create(ctx, type, resource)
    if not isinstance(id, str):
        raise error(400, "value", f"The id {id!r} is not a string.", f"{type}.id")
    return plan_update(ctx, type, id, resource)


def _name(resource: dict[str, Any]) -> str:
    return "/".join(str(resource[k]) for k in ("resourceType", "id") if resource.get(k) is not None) or "?"


def _ref(stored: Any, resource: dict[str, Any]) -> str:
    return stored.ref if stored is not None else _name(resource)
