"""The view of an interaction: an HTTP request becomes a `RestRequest`, a `Result` becomes a response.

https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
from flask import Request, Response, request
from werkzeug.exceptions import HTTPException

from fhirstore.errors import FhirError, Issue, error, outcome
from fhirstore.formats.headers import read_versions
from fhirstore.formats.json import compose, dumps, http_date, parse
from fhirstore.http import LANGUAGE, REQUEST_ID
from fhirstore.http.negotiate import CONTENT_TYPE, check_accept, check_content_type, read_preferences
from fhirstore.http.security import Security
from fhirstore.http.target import DEFAULT_PORTS
from fhirstore.interactions.base import Interaction, RestRequest, Result, perform, query_pairs, summary
from fhirstore.interactions.body import Parameters
from fhirstore.interactions.routing import Route
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import RETRY
from fhirstore.model.context import ANONYMOUS, Principal, RequestContext
from fhirstore.model.messages import Message
from fhirstore.settings import Settings

BASE = "/fhir"
"""The path of the FHIR API."""
SEARCHES = frozenset(("search-type", "history-instance", "history-type", "history-system"))
WAIT_FOR_SEARCH_S = 0.5
_FORM = "application/x-www-form-urlencoded"


class RunningSearches:
    """Bounds the searches that run at once, so that one thread is left for other requests. Threads may share it."""

    def __init__(self, limit: int):
        self._limit = limit
        self._changed = threading.Condition()
        self._started: list[float] = []

    def begin(self) -> float:
        """Returns what `end` takes. Waits for a running search to end, unless all of them are slow. Raises 503."""
        with self._changed:
            if len(self._started) >= self._limit:
                self._wait(time.monotonic() + WAIT_FOR_SEARCH_S)
            now = time.monotonic()
            self._started.append(now)
        return now

    def end(self, began: float) -> None:
        with self._changed:
            self._started.remove(began)
            self._changed.notify()

    def _wait(self, end: float) -> None:
        while len(self._started) >= self._limit:
            now = time.monotonic()
            if now >= end or max(self._started) < now - WAIT_FOR_SEARCH_S:
                text = Message(
                    "{limit} searches are running (setting max_running_searches). Repeat the search later.",
                    limit=self._limit,
                )
                raise error(503, "throttled", text, headers=RETRY)
            self._changed.wait(end - now)


def interaction_view(server: Server, security: Security, route: Route, searches: RunningSearches | None) -> Any:
    """The view of a route. It raises FhirError for every refusal. searches: None for any number of them."""
    settings, kind = server.settings, route.interaction
    running = searches if kind.code in SEARCHES else None

    def view(**path: str) -> Response:
        principal = security.principal() if security.is_wanted else ANONYMOUS
        context = request_context(principal, base_url(settings), settings.request_timeout_s)
        if security.audits:
            security.record_route(context, kind.code, path.get("type"), path.get("id"))
        rest = rest_request(settings)
        interaction: Interaction = kind.from_request(rest, path)
        if security.audits:
            security.record(context, summary(rest, interaction))
        parameters = dict(reversed(getattr(interaction, "parameters", rest.parameters)))
        check_accept(request.environ.get("HTTP_ACCEPT"), parameters.get("_format"))
        if running is None:
            result = perform(server, context, rest, interaction)
        else:
            began = running.begin()
            try:
                result = perform(server, context, rest, interaction)
            finally:
                running.end(began)
        return interaction_response(result, interaction.is_write, context, parameters.get("_pretty") == "true")

    return view


# --- the request ------------------------------------------------------------------------------------


class HttpBody:
    """The body of an HTTP request; it is read once, and parsed at each call."""

    def __init__(self, request: Request, settings: Settings):
        self._request, self._settings = request, settings
        self._raw: bytes | None = None

    def require_json(self) -> None:
        check_content_type(self._request.environ.get("CONTENT_TYPE"))

    def resource(self) -> dict[str, Any]:
        check_content_type(self._request.environ.get("CONTENT_TYPE"))
        return parse(self._read(), self._settings.max_nesting)

    def optional_resource(self) -> dict[str, Any] | None:
        return self.resource() if self._read() else None

    def form(self) -> Parameters:
        given = self._request.mimetype
        if given not in (_FORM, ""):
            text = Message("Content-Type is {given}; _search requires {form}.", given=repr(given), form=_FORM)
            raise error(415, "not-supported", text, "http.Content-Type")
        try:
            return query_pairs(self._read().decode("utf-8"))
        except UnicodeDecodeError:
            raise error(400, "invalid", Message("The form is not UTF-8.")) from None

    def _read(self) -> bytes:
        if self._raw is None:
            self._raw = self._read_once()
        return self._raw

    def _read_once(self) -> bytes:
        limit = self._settings.max_body_bytes
        if (self._request.content_length or 0) > limit:
            raise too_large(limit)
        try:
            return self._request.get_data(cache=False)
        except HTTPException as e:
            if e.code == 413:
                raise too_large(limit) from None
            raise


def too_large(limit: int) -> FhirError:
    return error(
        413, "too-long", Message("The body is larger than {limit} bytes (setting max_body_bytes).", limit=limit)
    )


def rest_request(settings: Settings) -> RestRequest:
    """The current request. Raises 400 for an undecodable query string."""
    environ = request.environ
    query: str = environ.get("QUERY_STRING", "")
    if_match, if_none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    return RestRequest(
        method="GET" if request.method == "HEAD" else request.method,
        path=tuple(request.path.removeprefix(BASE).strip("/").split("/")),
        body=HttpBody(request, settings),
        query=query,
        parameters=query_pairs(query) if query else [],
        if_match=read_versions(if_match) if if_match is not None else None,
        if_none_match=read_versions(if_none_match) if if_none_match is not None else None,
        if_modified_since=environ.get("HTTP_IF_MODIFIED_SINCE"),
        if_none_exist=environ.get("HTTP_IF_NONE_EXIST"),
    )


def request_context(principal: Principal = ANONYMOUS, base: str = "", timeout_s: float | None = None) -> RequestContext:
    """The context of the current request. base: that of absolute URLs. timeout_s: None for no deadline."""
    environ = request.environ
    return RequestContext(
        base=base,
        principal=principal,
        preferences=read_preferences(environ.get("HTTP_PREFER")),
        language=environ.get(LANGUAGE, "en"),
        deadline=time.monotonic() + timeout_s if timeout_s is not None else None,
        id=environ[REQUEST_ID],
    )


def base_url(settings: Settings) -> str:
    """The base of absolute URLs, without a trailing slash."""
    if settings.base_url:
        return settings.base_url.rstrip("/")
    environ = request.environ
    scheme: str = environ["wsgi.url_scheme"]
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return f"{scheme}://{host.removesuffix(DEFAULT_PORTS[scheme])}{BASE}"


# --- the response -----------------------------------------------------------------------------------


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
