"""https://hl7.org/fhir/R4/http.html#brules: each entry of a batch is a request of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirstore.errors import FhirError
from fhirstore.interactions.dispatcher import dispatch, internal_error
from fhirstore.interactions.entry import BundleEntry, MalformedEntry, error_entry, read_entries, response_entry
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext


def batch(
    server: Server,
    request: RequestContext,
    bundle: dict[str, Any],
    again: Callable[[], dict[str, Any]],
    *,
    with_resources: bool,
) -> list[bytes]:
    """The response entries, in order. again: parses the Bundle again. with_resources: whether writes return resources.

    A fault of an entry is the outcome of that entry. Raises FhirError 400 or 422 for the Bundle as a whole."""
    limit = server.settings.max_bundle_entries
    entries = read_entries(server.router, bundle, request.base, again, limit)
    return [respond_to_entry(server, request, entry, with_resources) for entry in entries]


def respond_to_entry(
    server: Server, request: RequestContext, entry: BundleEntry | MalformedEntry, with_resources: bool
) -> bytes:
    """The response entry of a request that stands for itself."""
    if isinstance(entry, MalformedEntry):
        return error_entry(entry.location, entry.problem)
    try:
        result = dispatch(server, request, entry.rest, entry.interaction)
        return response_entry(result, with_resources or not entry.interaction.is_write)
    except FhirError as problem:
        return error_entry(entry.location, problem)
    except Exception as problem:
        # Earlier entries are committed, so the client must learn of them.
        return error_entry(entry.location, internal_error(problem, f"{entry.rest.method} {entry.location}"))
