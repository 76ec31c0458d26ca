"""https://hl7.org/fhir/R4/http.html#3.1.0.7.1 (conditional delete)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from fhirstore.errors import error
from fhirstore.interactions.conditional import Criteria, read_criteria
from fhirstore.interactions.delete import plan_delete
from fhirstore.interactions.server import Server
from fhirstore.interactions.update import check_versions
from fhirstore.interactions.write import ALONE, ConditionalWrite, Plan, Surroundings, Target
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalDelete(ConditionalWrite):
    """Deletes the resource that matches; several only where the deployment declares `multiple`."""

    code: ClassVar[str] = "delete"
    has_body: ClassVar[bool] = False

    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        return Target("", criteria=read_criteria(server, request, self.type, self.criteria))

    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        assert target.criteria is not None
        support = server.registry.types[self.type].conditional_delete
        if support == "not-supported":
            raise error(
                412, "not-supported", Message("Conditional delete is not supported for {type}.", type=self.type)
            )
        if support == "multiple":
            found = deletions = _all_matches(server, target.criteria)
        else:
            found = target.criteria.matches(server)
            match = target.criteria.choose(server, found)
            deletions = [match] if match is not None else []
        for one in deletions or (None,):
            check_versions(self, one.id if one is not None else f"?{self.criteria}", one)
        if not deletions:
            return [Plan(204)]
        first, *others = (plan_delete(server, request, self.type, one, self.criteria) for one in deletions)
        return [msgspec.structs.replace(first, guards=(target.criteria.guard(found),)), *others]


def _all_matches(server: Server, criteria: Criteria) -> list[Stored]:
    limit = server.settings.max_bundle_entries
    found = server.store.find(criteria.type, criteria.where, limit=limit + 1).entries
    if len(found) > limit:
        text = Message(
            "More than {limit} resources match (setting max_bundle_entries). Narrow the criteria.", limit=limit
        )
        raise error(412, "too-costly", text)
    return found
