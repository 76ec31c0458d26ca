"""Responses: status, headers and bytes from the result of an interaction. https://hl7.org/fhir/R4/http.html#summary"""

from __future__ import annotations

import msgspec
from flask import Response

from fhirstore.errors import FhirError, Issue, outcome
from fhirstore.formats.compose import compose, http_date
from fhirstore.formats.json import dumps
from fhirstore.http.negotiate import CONTENT_TYPE
from fhirstore.interactions.base import Result
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message


def json_response(body: bytes, status: int = 200, pretty: bool = False) -> Response:
    if pretty:
        body = msgspec.json.format(body, indent=2)
    return Response(body, status, content_type=CONTENT_TYPE)


def refusal(problem: FhirError, pretty: bool = False) -> Response:
    """The OperationOutcome of a refusal."""
    response = json_response(dumps(outcome(*problem.issues)), problem.status, pretty)
    for name, value in problem.headers.items():
        response.headers[name] = value
    return with_language(response)


def with_language(response: Response) -> Response:
    """Marks a response as an OperationOutcome in English; `http.middleware` changes the language."""
    response.headers["Content-Language"] = "en"
    response.headers.add("Vary", "Accept-Language")
    return response


def interaction_response(result: Result, is_write: bool, request: RequestContext, pretty: bool) -> Response:
    """The response to an interaction."""
    stored = result.stored
    if is_write and request.preferences.returns == "OperationOutcome":
        response = _outcome_response(result, pretty)
    elif result.body is not None:
        response = json_response(result.body, result.status, pretty)
        if result.is_outcome:
            with_language(response)
    elif stored is None or stored.deleted or _is_empty(result, is_write, request):
        response = Response(status=result.status)
        del response.headers["Content-Type"]
    else:
        response = json_response(compose(stored), result.status, pretty)
    if stored is not None:
        response.headers["ETag"] = f'W/"{stored.version}"'
        response.headers["Last-Modified"] = http_date(stored.updated)
    if result.location is not None:
        response.headers["Location"] = f"{request.base}/{result.location}"
    return response


def _is_empty(result: Result, is_write: bool, request: RequestContext) -> bool:
    return result.status == 304 or (is_write and request.preferences.returns == "minimal")


def _outcome_response(result: Result, pretty: bool) -> Response:
    status = 200 if result.status == 204 else result.status
    issues = result.issues or (Issue("information", "informational", _success(result)),)
    return with_language(json_response(dumps(outcome(*issues)), status, pretty))


def _success(result: Result) -> str:
    stored = result.stored
    if stored is None:
        return Message("Nothing matched; nothing was changed.")
    written = {"resource": stored.ref, "version": stored.version}
    if result.status == 201:
        return Message("Created {resource}, version {version}.", **written)
    if result.status == 204:
        return Message("Deleted {resource}, version {version}.", **written)
    if result.status == 200:
        return Message("Updated {resource}, version {version}.", **written)
    return Message("{resource} is unchanged, version {version}.", **written)
