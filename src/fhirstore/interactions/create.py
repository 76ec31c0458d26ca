"""https://hl7.org/fhir/R4/http.html#create and #ccreate (If-None-Exist)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from fhirstore.errors import error
from fhirstore.interactions.base import RestRequest, wrong_type
from fhirstore.interactions.conditional import read_criteria
from fhirstore.interactions.server import Server
from fhirstore.interactions.write import (
    ALONE,
    Plan,
    Surroundings,
    Target,
    WriteInteraction,
    new_id,
    prepare,
)
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.plugins.model import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(WriteInteraction):
    """A resource under a new id; the id of the body is ignored. if_none_exist: the query string of the header. With it
    the resource is created only if nothing matches; one match is the answer, several are refused."""

    code: ClassVar[str] = "create"

    if_none_exist: str | None = None

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        if rest.entry is not None and rest.query is not None:
            text = Message(
                "POST {url} is not an interaction. Conditions of a create go into request.ifNoneExist.", url=rest.url
            )
            raise error(400, "not-supported", text, f"{rest.entry}.request.url")
        criteria = rest.if_none_exist
        if criteria is not None:
            criteria = _query_of(criteria, path["type"], rest.entry)
        return cls(**path, body=rest.body, if_none_exist=criteria)

    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        if resource.get("resourceType") != self.type:
            raise wrong_type(self.type, resource)
        if self.if_none_exist is None:
            return Target(new_id())
        if not server.registry.types[self.type].conditional_create:
            raise error(
                412,
                "not-supported",
                Message("Conditional create is not supported for {type}.", type=self.type),
                "http.If-None-Exist",
            )
        criteria = read_criteria(server, request, self.type, self.if_none_exist, resource, around.deleted_ids)
        matches = criteria.matches(server)
        match = criteria.choose(server, matches)
        if match is not None:
            return Target(match.id, match, criteria)
        return Target(new_id(), None, criteria, (criteria.guard(matches),))

    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        if target.match is not None:
            return [Plan(200, None, target.match, has_location=True)]
        resource.pop("id", None)
        query = target.criteria.text if target.criteria is not None else None
        write = Write("create", self.type, target.id, resource, query=query)
        return [prepare(server, request, write, status=201, guards=target.guards, where=around.location)]


def _query_of(url: str, type: str, entry: str | None) -> str:
    """The query string of criteria, which may be given as a URL: identifier=…, ?identifier=…, Patient?identifier=….

    Raises 400 for the URL of another type. entry: see `RestRequest`."""
    path, mark, query = url.partition("?")
    if not mark or "=" in path:
        return url
    given = path.rstrip("/").rpartition("/")[2]
    if given not in ("", type):
        text = Message(
            "If-None-Exist searches {given}; a create of {type} needs criteria for {type}.",
            given=repr(given[:80]),
            type=type,
        )
        raise error(400, "value", text, f"{entry}.request.ifNoneExist" if entry is not None else "http.If-None-Exist")
    return query
