"""An HTTP request as interactions need it."""

from __future__ import annotations

import time
from typing import Any

from flask import Request, request
from werkzeug.exceptions import HTTPException

from fhirstore.errors import FhirError, error
from fhirstore.formats.headers import read_versions
from fhirstore.formats.json import parse
from fhirstore.http.middleware import LANGUAGE, REQUEST_ID
from fhirstore.http.negotiate import check_content_type, read_preferences
from fhirstore.interactions.base import RestRequest, query_pairs
from fhirstore.interactions.body import Parameters
from fhirstore.model.context import ANONYMOUS, Principal, RequestContext
from fhirstore.model.messages import Message
from fhirstore.settings import Settings

_FORM = "application/x-www-form-urlencoded"


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


def rest_request(settings: Settings, base_path: str) -> RestRequest:
    """The current request. base_path: that of the FHIR base ("/fhir"). Raises 400 for an undecodable query string."""
    environ = request.environ
    query: str = environ.get("QUERY_STRING", "")
    if_match, if_none_match = environ.get("HTTP_IF_MATCH"), environ.get("HTTP_IF_NONE_MATCH")
    return RestRequest(
        method="GET" if request.method == "HEAD" else request.method,
        path=tuple(request.path.removeprefix(base_path).strip("/").split("/")),
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


def base_url(settings: Settings, base_path: str) -> str:
    """The base of absolute URLs, without a trailing slash."""
    if settings.base_url:
        return settings.base_url.rstrip("/")
    return request.host_url + base_path.removeprefix("/")
