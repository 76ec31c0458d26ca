"""Responses to requests that never reach the application."""

from __future__ import annotations

from gunicorn.http import errors

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps

# Parse errors of gunicorn with their status, issue code and advice. The first matching class counts.
_PARSE_ERRORS = (
    (errors.LimitRequestLine, "414 URI Too Long", "too-long", "; use POST [base]/[type]/_search for long searches"),
    (errors.LimitRequestHeaders, "431 Request Header Fields Too Large", "too-long", ""),
    (errors.ExpectationFailed, "417 Expectation Failed", "not-supported", ""),
    (errors.UnsupportedTransferCoding, "501 Not Implemented", "not-supported", ""),
    (errors.ParseException, "400 Bad Request", "structure", ""),
)


def response(status: str, code: str, text: str, *headers: str) -> bytes:
    """A complete response with an OperationOutcome, after which the connection is closed."""
    body = dumps(outcome(Issue("error", code, text)))
    lines = (
        f"HTTP/1.1 {status}",
        "Connection: close",
        "Content-Type: application/fhir+json;charset=utf-8",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def malformed(problem: errors.ParseException) -> tuple[str, bytes]:
    """(status, response) for a request that gunicorn cannot parse."""
    _, status, code, advice = next(entry for entry in _PARSE_ERRORS if isinstance(problem, entry[0]))
    return status, response(status, code, f"{str(problem)[:500]}{advice}.")


def too_slow(part: str, seconds: float) -> bytes:
    """part: the part of the request that is incomplete, head or body."""
    text = f"The {part} of the request was not complete within {seconds:g} s (setting {part}_timeout_s)."
    return response("408 Request Timeout", "timeout", text)


TOO_MANY_CONNECTIONS = response(
    "503 Service Unavailable", "throttled", "All connections are in use. Repeat the request later.", "Retry-After: 1"
)
HTTPS_ONLY = response(
    "400 Bad Request", "security", "this port accepts HTTPS only; use an address that begins with https://."
)
INTERNAL_ERROR = response(
    "500 Internal Server Error", "exception", "An internal error occurred. The log of the server has the details."
)
CANNOT_BUFFER = response(
    "503 Service Unavailable",
    "no-store",
    "The server has no space for the body. Repeat it later.",
    "Retry-After: 10",
)
