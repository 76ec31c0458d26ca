"""Interactions: what a client requests, as typed values, and the one place where they are executed.

`dispatch` authorizes an interaction, checks that the server supports it, calls its `execute`, and audits the status.
HTTP requests, the entries of a batch and tests all pass through it. `write.WriteInteraction` is the base of the
interactions that change resources.
"""

from __future__ import annotations

import logging
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl

import msgspec

from fhirstore.errors import FhirError, error
from fhirstore.interactions.body import Body, Parameters
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import RETRY, from_store
from fhirstore.model.context import InteractionSummary, RequestContext
from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)


class RestRequest(msgspec.Struct, frozen=True):
    """A request before its interaction is known.

    method: in upper case; HEAD is given as GET. path: the segments of the URL below the base.
    query: the query string as received, None without a question mark. parameters: the decoded query string.
    if_match, if_none_match: the versions of the header ("*" for any), None if the header is absent.
    entry: FHIRPath of the Bundle entry ("Bundle.entry[3]"), None for an HTTP request."""

    method: str
    path: tuple[str, ...]
    body: Body
    query: str | None = None
    parameters: Parameters = []
    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since: str | None = None
    if_none_exist: str | None = None
    entry: str | None = None

    @property
    def url(self) -> str:
        """Relative to the base, with the query string."""
        return "/".join(self.path) + (f"?{self.query}" if self.query is not None else "")

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, None if it is absent."""
        return next((v for n, v in self.parameters if n == name), None)


class Result(msgspec.Struct, frozen=True):
    """The result of an interaction, before HTTP or a Bundle entry represents it.

    status: the HTTP status. stored: the version concerned, whose resource is the body.
    body: a finished resource instead of that of `stored`. is_outcome: whether `body` is an OperationOutcome.
    location: of the Location header, relative to the base ("Patient/1/_history/2"), None for no header.
    issues: for Prefer: return=OperationOutcome."""

    status: int
    stored: Stored | None = None
    body: bytes | None = None
    is_outcome: bool = False
    location: str | None = None
    issues: tuple[Issue, ...] = ()


def query_pairs(text: str) -> Parameters:
    """The decoded pairs of a query string, in order; empty values are kept.

    Raises FhirError 400 for percent-escapes that are not UTF-8, and for more than 2000 pairs."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=2000)
    except UnicodeDecodeError:
        raise error(400, "invalid", Message("The query string contains percent-escapes that are not UTF-8.")) from None
    except ValueError as e:
        raise error(400, "invalid", Message("The query string cannot be parsed: {reason}.", reason=e)) from None


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
        """The result. Only `dispatch` calls this. Raises FhirError to refuse, and StoreError."""


def wrong_type(type: str, resource: Mapping[str, Any]) -> FhirError:
    """The refusal (400) of a body that is no resource of the type in the URL."""
    given = resource.get("resourceType")
    text = (
        Message("resourceType is {given}", given=repr(given))
        if given is not None
        else Message("resourceType is missing")
    )
    return error(
        400,
        "invalid",
        Message("{text}; the URL requires {type}.", text=text, type=type),
        f"{type}.resourceType" if given else type,
    )


def perform(server: Server, request: RequestContext, rest: RestRequest, interaction: Interaction) -> Result:
    """The result of an interaction, after plugins have authorized it. The caller audits the response.

    Raises FhirError for every refusal, errors of the store included. Other exceptions are internal errors, which the
    caller turns into a refusal with `internal_error`."""
    try:
        if server.hooks.authorize:
            authorize(server, request, rest, interaction)
        interaction.check_served(server)
        if request.deadline is None:
            return interaction.execute(server, request)
        if time.monotonic() > request.deadline:
            raise too_late()
        with server.store.deadline(request.deadline):
            return interaction.execute(server, request)
    except StoreError as problem:
        raise from_store(problem) from problem


def dispatch(server: Server, request: RequestContext, rest: RestRequest, interaction: Interaction) -> Result:
    """The same as `perform`; plugins audit the result or the refusal."""
    started = time.perf_counter()
    status = 500
    try:
        result = perform(server, request, rest, interaction)
        status = result.status
        return result
    except FhirError as problem:
        status = problem.status
        raise
    finally:
        if server.hooks.audit:
            audit(server, request, summary(rest, interaction), status, time.perf_counter() - started)


def too_late() -> FhirError:
    """The refusal (503) of a request after its deadline."""
    text = Message("The time of the request is over (setting request_timeout_s). Send a smaller request.")
    return error(503, "timeout", text, headers=RETRY)


def authorize(server: Server, request: RequestContext, rest: RestRequest, interaction: Interaction) -> None:
    """Raises FhirError 403 if a plugin refuses the interaction to the caller."""
    for hook, context in server.hooks.authorize:
        hook(request, summary(rest, interaction), context)


def audit(
    server: Server, request: RequestContext, interaction: InteractionSummary, status: int, seconds: float
) -> None:
    """Reports a response to the plugins. interaction.name: empty if the request was refused before it was known."""
    for hook, context in server.hooks.audit:
        hook(request, interaction, status, seconds, context)


def summary(rest: RestRequest, interaction: Interaction) -> InteractionSummary:
    return InteractionSummary(interaction.name, interaction.type, interaction.id, rest.method, rest.url, rest.entry)


def internal_error(problem: Exception, what: str) -> FhirError:
    """A refusal with status 500 and an identifier that the log has too. what: the method and path, for the log."""
    identifier = uuid.uuid4().hex
    log.error("internal error %s on %s", identifier, what, exc_info=problem)
    return error(
        500, "exception", Message("Internal error {identifier}. The server log has the details.", identifier=identifier)
    )
