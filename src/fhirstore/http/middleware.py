"""WSGI middleware: the identifier and the language of each request."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars

from fhirstore.errors import translation
from fhirstore.http.language import ENGLISH, Render, preferred

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Headers = list[tuple[str, str]]

REQUEST_ID, LANGUAGE = "fhirstore.request_id", "fhirstore.language"
"""Keys of the identifier and the language in the WSGI environment."""

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestScope:
    """Gives each request an identifier, which log lines and the response carry (X-Request-Id), and renders messages in
    the language that Accept-Language prefers. An identifier of the client is used if it is harmless in logs."""

    def __init__(self, app: WSGIApplication, languages: Mapping[str, Render]):
        self._app, self._languages = app, languages
        self._available = (ENGLISH, *languages)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given, accepted = environ.get("HTTP_X_REQUEST_ID"), environ.get("HTTP_ACCEPT_LANGUAGE")
        id = given if given is not None and _VALID_ID.fullmatch(given) else uuid.uuid4().hex
        language = preferred(accepted, self._available) if accepted else ENGLISH
        environ[REQUEST_ID], environ[LANGUAGE] = id, language
        recorder = None if language == ENGLISH else _Recorder(self._languages[language])

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            if recorder is not None and recorder.has_translated:
                headers = _with_language(headers, language)
            return start_response(status, [*headers, ("X-Request-Id", id)], exc_info)

        with bound_contextvars(request_id=id):
            if recorder is None:
                return self._app(environ, start)
            token = translation.set(recorder.render)
            try:
                # The body is complete when the application returns, so nothing is translated after the reset.
                return self._app(environ, start)
            finally:
                translation.reset(token)


def _with_language(headers: Headers, language: str) -> Headers:
    vary = [name.strip() for n, v in headers if n.lower() == "vary" for name in v.split(",")]
    others = [(n, v) for n, v in headers if n.lower() not in ("content-language", "vary")]
    names = ", ".join(dict.fromkeys([*vary, "Accept-Language"]))
    return [*others, ("Content-Language", language), ("Vary", names)]


class _Recorder:
    """Renders the texts of one response and notes whether one of them was translated."""

    def __init__(self, render: Render):
        self._render, self.has_translated = render, False

    def render(self, text: str) -> str:
        rendered = self._render(text)
        self.has_translated = self.has_translated or rendered != text
        return rendered
