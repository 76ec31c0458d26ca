"""Gives each request an identifier, which log lines and the response carry (X-Request-Id)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Headers = list[tuple[str, str]]

ENVIRON = "fhirstore.request_id"
"""The key of the identifier in the WSGI environment."""

_VALID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIds:
    """WSGI middleware. The identifier of a client is used if it is harmless in logs and headers."""

    def __init__(self, app: WSGIApplication):
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID")
        id = given if given is not None and _VALID.fullmatch(given) else uuid.uuid4().hex
        environ[ENVIRON] = id

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            headers.append(("X-Request-Id", id))
            return start_response(status, headers, exc_info)

        with bound_contextvars(request_id=id):
            return self._app(environ, start)
