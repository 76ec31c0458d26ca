"""https://hl7.org/fhir/R4/http.html#cond-update"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from fhirstore.errors import error
from fhirstore.interactions.base import wrong_type
from fhirstore.interactions.conditional import read_criteria
from fhirstore.interactions.server import Server
from fhirstore.interactions.update import check_id, check_versions, plan_put
from fhirstore.interactions.write import (
    ALONE,
    ConditionalWrite,
    Plan,
    Surroundings,
    Target,
    new_id,
    prepare,
)
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.plugins.model import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalUpdate(ConditionalWrite):
    """Replaces the only resource that matches, creates one if none matches, refuses if several match."""

    code: ClassVar[str] = "update"

    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        if resource.get("resourceType") != self.type:
            raise wrong_type(self.type, resource)
        if not server.registry.types[self.type].conditional_update:
            raise error(
                412, "not-supported", Message("Conditional update is not supported for {type}.", type=self.type)
            )
        criteria = read_criteria(server, request, self.type, self.criteria, resource, around.deleted_ids)
        matches = criteria.matches(server)
        match = criteria.choose(server, matches)
        own = None if criteria.match.ignore_body_id else resource.get("id")
        id = match.id if match is not None else own if isinstance(own, str) else new_id()
        return Target(id, match, criteria, (criteria.guard(matches),))

    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        assert target.criteria is not None
        own = None if target.criteria.match.ignore_body_id else resource.get("id")
        if target.match is not None:
            if own is not None and own != target.match.id:
                text = Message(
                    "The body has the id {own}, but the criteria match {ref}.", own=repr(own), ref=target.match.ref
                )
                raise error(400, "invalid", text, f"{self.type}.id")
            return [plan_put(server, request, self, resource, target, around)]
        if own is None:
            return [self._plan_create(server, request, resource, target, around)]
        if not isinstance(own, str):
            raise error(
                400,
                "value",
                Message("The id {own} of the body is not a string.", own=repr(str(own)[:80])),
                f"{self.type}.id",
            )
        check_id(self.type, own)
        current = server.store.read(self.type, own)
        if current is not None and not current.deleted:
            text = Message("{type}/{own} exists, but does not match the criteria.", type=self.type, own=own)
            raise error(409, "conflict", text, f"{self.type}.id")
        return [plan_put(server, request, self, resource, replace(target, match=current), around)]

    def _plan_create(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings,
    ) -> Plan:
        check_versions(self, f"?{self.criteria}", None)
        resource.pop("id", None)
        write = Write("create", self.type, target.id, resource, query=self.criteria)
        return prepare(server, request, write, status=201, guards=target.guards, where=around.location)
