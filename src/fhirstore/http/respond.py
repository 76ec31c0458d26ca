"""Answers: status, headers and bytes from what an interaction gave. https://hl7.org/fhir/R4/http.html#summary"""

from __future__ import annotations

import msgspec
from flask import Response

from fhirstore.errors import FhirError, Issue, outcome
from fhirstore.formats.compose import compose, http_date
from fhirstore.formats.json import dumps
from fhirstore.http.negotiate import CONTENT_TYPE, Prefer
from fhirstore.interactions.result import Result
from fhirstore.model.stored import Stored


def json_response(body: bytes, status: int = 200, pretty: bool = False) -> Response:
    if pretty:
        body = msgspec.json.format(body, indent=2)
    return Response(body, status, content_type=CONTENT_TYPE)


def refusal(problem: FhirError, pretty: bool = False) -> Response:
    """The OperationOutcome of a refusal."""
    response = json_response(dumps(outcome(*problem.issues)), problem.status, pretty)
    for name, value in problem.headers.items():
        response.headers[name] = value
    return spoken(response)


def spoken(response: Response) -> Response:
    """Says that the answer is an OperationOutcome, whose texts are in the language asked for; `http.language` changes
    that from English."""
    response.headers["Content-Language"] = "en"
    response.headers.add("Vary", "Accept-Language")
    return response


def resource_response(stored: Stored, body: bytes | None = None, status: int = 200, pretty: bool = False) -> Response:
    """A resource with ETag and Last-Modified; body: when it is not the whole resource."""
    response = json_response(compose(stored) if body is None else body, status, pretty)
    _stamp(response, stored)
    return response


def not_modified(stored: Stored) -> Response:
    response = Response(status=304)
    _stamp(response, stored)
    return response


def _stamp(response: Response, stored: Stored) -> None:
    response.headers["ETag"] = f'W/"{stored.version}"'
    response.headers["Last-Modified"] = http_date(stored.updated)


def write_response(result: Result, base: str, prefer: Prefer, pretty: bool = False) -> Response:
    """The answer to create, update and delete, as Prefer: return wants it."""
    stored = result.stored
    if prefer.returns == "OperationOutcome":
        status = 200 if result.status == 204 else result.status
        issues = result.issues or (Issue("information", "informational", _done(result)),)
        response = spoken(json_response(dumps(outcome(*issues)), status, pretty))
    elif stored is None or stored.deleted or prefer.returns == "minimal":
        response = Response(status=result.status)
        del response.headers["Content-Type"]
    else:
        response = json_response(compose(stored), result.status, pretty)
    if stored is not None:
        _stamp(response, stored)
    if result.location is not None:
        response.headers["Location"] = f"{base}/{result.location}"
    return response


def _done(result: Result) -> str:
    stored = result.stored
    if stored is None:
        return "Nothing matched; nothing was changed."
    return _DONE.get(result.status, "Done {0}, version {1}.").format(stored.ref, stored.version)


_DONE = {
    200: "Updated {0}, version {1}.",
    201: "Created {0}, version {1}.",
    204: "Deleted {0}, version {1}.",
}
