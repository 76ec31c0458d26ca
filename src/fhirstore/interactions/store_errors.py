"""What an engine's errors mean to a client: https://hl7.org/fhir/R4/http.html#Status-Codes."""

from __future__ import annotations

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message
from fhirstore.store.errors import (
    StoreError,
    TimedOut,
    TooComplex,
    TooLarge,
)

RETRY = {"Retry-After": "2"}


def from_store(problem: StoreError) -> FhirError:
    """The refusal for an error of the store: 413, 422, or 503 with Retry-After."""
    if isinstance(problem, TooLarge):
        return error(413, "too-long", Message("Too much for the store: {problem}.", problem=problem))
    if isinstance(problem, TooComplex):
        return error(422, "too-costly", Message("Too much for the store: {problem}.", problem=problem))
    if isinstance(problem, TimedOut):
        text = Message(
            "The search took too long; narrow it, or ask for a smaller page (settings search_timeout_s and "
            "request_timeout_s)."
        )
        return error(503, "timeout", text, headers=RETRY)
    return error(
        503, "transient", Message("The store cannot answer now; try again: {problem}", problem=problem), headers=RETRY
    )
