"""The one place where interactions are executed: authorization, auditing and the check that they are served."""

from __future__ import annotations

import logging
import time
import uuid

from fhirstore.errors import FhirError, error
from fhirstore.interactions.base import Interaction
from fhirstore.interactions.rest import RestRequest, Result
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import RETRY, from_store
from fhirstore.model.context import InteractionSummary, RequestContext
from fhirstore.model.messages import Message
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)


def perform(server: Server, request: RequestContext, rest: RestRequest, interaction: Interaction) -> Result:
    """The result of an interaction, after plugins have authorized it. The caller audits the response.

    Raises FhirError for every refusal, errors of the store included. Other exceptions are internal errors, which the
    caller turns into a refusal with `internal_error`."""
    try:
        if server.plugins.hook.authorize.get_hookimpls():
            authorize(server, request, rest, interaction)
        interaction.check_served(server)
        if request.deadline is not None and time.monotonic() > request.deadline:
            text = Message("The time of the request is over (setting request_timeout_s). Send a smaller request.")
            raise error(503, "timeout", text, headers=RETRY)
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
        if server.plugins.hook.audit.get_hookimpls():
            audit(server, request, summary(rest, interaction), status, time.perf_counter() - started)


def authorize(server: Server, request: RequestContext, rest: RestRequest, interaction: Interaction) -> None:
    """Raises FhirError 403 if a plugin refuses the interaction to the caller."""
    server.plugins.hook.authorize(request=request, interaction=summary(rest, interaction), context=server.contexts)


def audit(
    server: Server, request: RequestContext, interaction: InteractionSummary, status: int, seconds: float
) -> None:
    """Reports a response to the plugins. interaction.name: empty if the request was refused before it was known."""
    server.plugins.hook.audit(
        request=request, interaction=interaction, status=status, seconds=seconds, context=server.contexts
    )


def summary(rest: RestRequest, interaction: Interaction) -> InteractionSummary:
    return InteractionSummary(interaction.name, interaction.type, interaction.id, rest.method, rest.url, rest.entry)


def internal_error(problem: Exception, what: str) -> FhirError:
    """A refusal with status 500 and an identifier that the log has too. what: the method and path, for the log."""
    identifier = uuid.uuid4().hex
    log.error("internal error %s on %s", identifier, what, exc_info=problem)
    return error(
        500, "exception", Message("Internal error {identifier}. The server log has the details.", identifier=identifier)
    )
