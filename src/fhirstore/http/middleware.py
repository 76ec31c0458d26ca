"""What happens before and after every view: identifier and language of the request, admission, headers.

Admission is decided by the rule that matched, not by the text of the path: `Access` lists the rules that are open, and
every other request, also one without a rule, needs what the settings require.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import request
from structlog.contextvars import bound_contextvars

from fhirstore.errors import translation
from fhirstore.http import LANGUAGE, REQUEST_ID
from fhirstore.http.clients import Clients
from fhirstore.http.language import ENGLISH, Render, preferred
from fhirstore.http.target import PLAIN_TARGET, Hosts, check_origin, check_target

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Headers = list[tuple[str, str]]

_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class RequestScope:
    """Gives each request an identifier, which log lines and the response carry (X-Request-Id), and renders messages in
    the language that Accept-Language prefers. An identifier of the client is used if it is harmless in logs.

    Browsers are told not to guess the type of any response (https://fetch.spec.whatwg.org/#x-content-type-options-header)."""

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
            added = [("X-Request-Id", id), ("X-Content-Type-Options", "nosniff")]
            return start_response(status, headers + added, exc_info)

        with bound_contextvars(request_id=id):
            if recorder is None:
                return self._app(environ, start)
            token = translation.set(recorder.render)
            try:
                # The body is complete when the application returns, so nothing is translated after the reset.
                return self._app(environ, start)
            finally:
                translation.reset(token)


class Access:
    """Admits requests to their view. Threads may share it once all rules are added.

    public: endpoints of rules that need no certificate and no known host. operator: endpoints of rules that need no
    certificate on this machine."""

    def __init__(self, clients: Clients, hosts: Hosts, origins: tuple[str, ...]):
        self._clients, self._hosts, self._origins = clients, hosts, origins
        self.public: set[str] = set()
        self.operator: set[str] = set()

    def admit(self) -> None:
        """Raises 400 for a path that is not canonical, 421 for an unknown host, 403 for a change that a page of another
        site requests, 401 and 403 for a missing or unaccepted client certificate."""
        environ = request.environ
        target = environ.get("RAW_URI") or environ["PATH_INFO"]
        if PLAIN_TARGET(target) is None or not target.startswith(environ["PATH_INFO"]):
            check_target(environ)
        passed = self._clients.take_headers(environ) if self._clients.reads_headers else None
        endpoint = request.endpoint
        if endpoint in self.public:
            return
        if not self._hosts.is_listed(environ.get("HTTP_HOST")):
            self._hosts.check(environ)
        if "HTTP_ORIGIN" in environ and request.method not in _SAFE_METHODS:
            check_origin(environ, self._origins)
        if self._clients.is_wanted and not (endpoint in self.operator and self._clients.is_here(environ)):
            self._clients.admit(environ, passed)


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
