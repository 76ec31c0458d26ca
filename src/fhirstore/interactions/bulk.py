"""Many resources at once, for loading: each is validated and indexed like any write, and committed in groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fhirstore.errors import FhirError, error
from fhirstore.interactions.base import Result
from fhirstore.interactions.body import ParsedBody
from fhirstore.interactions.create import Create
from fhirstore.interactions.referential_integrity import RULE
from fhirstore.interactions.server import Server
from fhirstore.interactions.update import Update
from fhirstore.interactions.write import Plan, WriteInteraction, commit
from fhirstore.model.context import RequestContext
from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored

SIZE = 200
"""Resources of one commit."""

Outcome = tuple[str, tuple[Issue, ...] | None]
"""("Type/id", None or the warnings about its references) of a resource that is stored, ("Type/id" or "Type", issues) of
one that is refused."""


def put_many(server: Server, resources: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """The outcome of each resource, in order.

    A resource with an id is created or replaced under it; one without is created. Resources are stored in groups; a
    group is durable when its first outcome is returned. The dicts are not changed."""
    group: list[dict[str, Any]] = []
    ids: set[tuple[Any, Any]] = set()
    for resource in resources:
        name = (resource.get("resourceType"), resource.get("id"))
        # A commit changes a resource once; its second version goes into the next group.
        if len(group) == SIZE or (name[1] is not None and name in ids):
            yield from _store(server, group)
            group, ids = [], set()
        group.append(resource)
        ids.add(name)
    if group:
        yield from _store(server, group)


def _store(server: Server, group: Sequence[dict[str, Any]]) -> list[Outcome]:
    """Commits the group; one by one if a resource makes the commit fail (a unique key, a concurrent write)."""
    try:
        return _commit(server, group)
    except FhirError as problem:
        if len(group) == 1:
            return [(_name(group[0]), problem.issues)]
    return [outcome for resource in group for outcome in _store(server, [resource])]


def _commit(server: Server, group: Sequence[dict[str, Any]]) -> list[Outcome]:
    request = RequestContext()
    refused: dict[int, tuple[Issue, ...]] = {}
    accepted: list[int] = []

    def plan() -> list[Plan]:
        refused.clear()
        accepted.clear()
        plans: list[Plan] = []
        for index, resource in enumerate(group):
            try:
                interaction = _interaction(resource)
                interaction.check_served(server)
                plans += interaction.plan_alone(server, request)
                accepted.append(index)
            except FhirError as problem:
                refused[index] = problem.issues
        return plans

    done = commit(server, request, plan)
    results = dict(zip(accepted, done, strict=True))
    return [
        (_name(resource), refused[index])
        if index in refused
        else (_reference(results[index].stored, resource), _reference_warnings(results[index]))
        for index, resource in enumerate(group)
    ]


def _reference_warnings(result: Result) -> tuple[Issue, ...] | None:
    return tuple(issue for issue in result.issues if issue.rule == RULE) or None


def _interaction(resource: dict[str, Any]) -> WriteInteraction:
    type, id = resource.get("resourceType"), resource.get("id")
    if not isinstance(type, str):
        raise error(400, "required", Message("resourceType is required."))
    body = ParsedBody(resource)
    if id is None:
        return Create(type=type, body=body)
    if not isinstance(id, str):
        raise error(400, "value", Message("The id {id} is not a string.", id=repr(id)), f"{type}.id")
    return Update(type=type, id=id, body=body)


def _name(resource: dict[str, Any]) -> str:
    return "/".join(str(resource[k]) for k in ("resourceType", "id") if resource.get(k) is not None) or "?"


def _reference(stored: Stored | None, resource: dict[str, Any]) -> str:
    return stored.ref if stored is not None else _name(resource)
