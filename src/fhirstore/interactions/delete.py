"""https://hl7.org/fhir/R4/http.html#delete"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fhirstore.interactions.server import Server
from fhirstore.interactions.update import check_versions
from fhirstore.interactions.write import (
    ALONE,
    Plan,
    Surroundings,
    Target,
    WriteInteraction,
    plan_deletion,
    refuse_package_owned,
)
from fhirstore.model.context import RequestContext
from fhirstore.model.stored import Stored
from fhirstore.plugins.model import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(WriteInteraction):
    """Deletes a resource. Deleting a resource that does not exist succeeds and changes nothing."""

    code: ClassVar[str] = "delete"
    has_body: ClassVar[bool] = False

    id: str

    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        return Target(self.id)

    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        current = server.store.read(self.type, self.id)
        check_versions(self, self.id, current)
        return [plan_delete(server, request, self.type, current)]


def plan_delete(
    server: Server, request: RequestContext, type: str, current: Stored | None, query: str | None = None
) -> Plan:
    """The plan of deleting the current version. query: the criteria of a conditional delete."""
    if current is None or current.deleted:
        return Plan(204, None, current)
    refuse_package_owned(server, type, current.id)
    write = Write("delete", type, current.id, None, previous=current, query=query)
    return plan_deletion(server, request, write)
