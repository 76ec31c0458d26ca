"""GET entries of a transaction: https://hl7.org/fhir/R4/http.html#trules.

They are processed last, so they see what the transaction writes, and nothing can be undone when they are answered. R4
accepts all entries or none. Therefore each GET is executed before the commit, too, and refuses the transaction if it
fails.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from fhirstore.errors import FhirError, error
from fhirstore.interactions.base import Result, audit, internal_error, summary
from fhirstore.interactions.bundles import BundleEntry, ResponseSpace, error_entry
from fhirstore.interactions.read import Read
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import from_store
from fhirstore.interactions.vread import VRead
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Change
from fhirstore.store.errors import StoreError

Changes = Mapping[tuple[str, str], Change]
"""By type and id."""


def execute_before_commit(
    server: Server, request: RequestContext, entry: BundleEntry, changes: Changes
) -> Result | None:
    """The result of a GET as the store is now, None if the transaction writes the resource of its URL.

    Raises FhirError if the GET fails, now or after the changes."""
    interaction = entry.interaction
    change = changes.get((interaction.type or "", interaction.id or ""))
    if change is not None and isinstance(interaction, Read):
        written = str((change.replaces or 0) + 1)
        if not isinstance(interaction, VRead) or interaction.version == written:
            if not change.deleted:
                return None
            text = Message("{type}/{id} is deleted by the same transaction.", type=change.type, id=change.id)
            raise error(410, "deleted", text, f"{entry.location}.request.url")
    elif change is not None and not change.deleted:
        return None
    return _execute(server, request, entry)


def respond_after_commit(
    server: Server, request: RequestContext, entry: BundleEntry, space: ResponseSpace, known: Result | None = None
) -> bytes:
    """The response entry of a GET that was authorized, and succeeded, before the commit.

    space: that of the response Bundle. known: the result if the commit has changed nothing. A failure now is the
    outcome of the entry alone: another client has changed the store since."""
    started, status = time.perf_counter(), 500
    try:
        space.check()
        result = known if known is not None else _execute(server, request, entry)
        answer = space.of_read(result)
        status = result.status
        return answer
    except FhirError as problem:
        status = problem.status
        return error_entry(entry.location, problem)
    except Exception as problem:
        return error_entry(entry.location, internal_error(problem, f"{entry.rest.method} {entry.location}"))
    finally:
        if server.hooks.audit:
            seconds = time.perf_counter() - started
            audit(server, request, summary(entry.rest, entry.interaction), status, seconds)


def _execute(server: Server, request: RequestContext, entry: BundleEntry) -> Result:
    try:
        return entry.interaction.execute(server, request)
    except StoreError as problem:
        raise from_store(problem) from problem
