"""The interactions as typed values, and the two kinds of them: reads answer, writes plan.

A handler is the `execute` of an interaction. It is called by `dispatcher.dispatch` only, which checks that the
interaction is served and allowed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from fhirstore.errors import error
from fhirstore.interactions.conditional import Criteria
from fhirstore.interactions.rest import Body, RestRequest, Result
from fhirstore.interactions.server import Server
from fhirstore.interactions.write import Plan, commit
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Guard, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction(ABC):
    """Something that a client can request: https://hl7.org/fhir/R4/http.html#summary.

    code: the code of https://hl7.org/fhir/R4/valueset-type-restful-interaction.html. type: None at the system level.
    id: None above the instance level."""

    code: ClassVar[str]
    is_write: ClassVar[bool] = False

    type: str | None = None
    id: str | None = None

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        """The interaction of a request. path: the placeholders of its route."""
        return cls(**path)

    @property
    def name(self) -> str:
        """The name under which plugins authorize and audit the interaction."""
        return self.code

    def check_served(self, server: Server) -> None:
        """Raises FhirError 404 or 405 unless the deployment serves the interaction."""
        if self.type is not None:
            served = server.registry.types.get(self.type)
            if served is None or self.code not in served.interactions:
                raise server.not_served(self.type, self.code)
        elif self.code not in server.registry.interactions:
            raise error(
                405, "not-supported", Message("The interaction {code} is not supported by this server.", code=self.code)
            )

    @abstractmethod
    def execute(self, server: Server, request: RequestContext) -> Result:
        """The result. Raises FhirError to refuse, and StoreError."""


@dataclass(frozen=True, slots=True)
class Target:
    """The identity of what a write changes, fixed before links between the entries of a transaction are resolved.

    id: of the resource. match: the resource that satisfies the criteria, None if there are no criteria or no match.
    guards: what the commit must find unchanged."""

    id: str
    match: Stored | None = None
    criteria: Criteria | None = None
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The transaction around a write. deleted_ids: by type, the ids that the transaction deletes; criteria do not match
    them. location: FHIRPath of the resource in its Bundle, None for a write of its own."""

    deleted_ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    location: str | None = None


ALONE = Surroundings()


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteInteraction(Interaction):
    """An interaction that changes resources of one type: it is identified, then planned, then committed."""

    is_write: ClassVar[bool] = True

    type: str
    body: Body | None = None
    if_match: tuple[str, ...] | None = None

    def resource(self) -> dict[str, Any]:
        """The resource of the body, which the plan may change; empty if the interaction has none."""
        return self.body.resource() if self.body is not None else {}

    @abstractmethod
    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        """The identity of what the interaction changes. Raises FhirError 400 or 412."""

    @abstractmethod
    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        """The changes, at least one plan. Reads the store, changes nothing. Raises FhirError to refuse."""

    def plan_alone(self, server: Server, request: RequestContext) -> Sequence[Plan]:
        """The plans of a write that is not part of a transaction."""
        resource = self.resource()
        return self.plan(server, request, resource, self.identify(server, request, resource, ALONE))

    def execute(self, server: Server, request: RequestContext) -> Result:
        return commit(server, request, lambda: self.plan_alone(server, request))[0]
