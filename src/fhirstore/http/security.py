"""The principal of a request, and its audit: the plugins' hooks `authenticate` and `audit`.

What a principal may do is decided by `interactions.base.perform`, which asks the plugins for each interaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import wraps

from flask import Flask, Response, g, request

from fhirstore.http.clients import ENVIRON, Clients
from fhirstore.interactions.base import audit
from fhirstore.interactions.server import Server
from fhirstore.model.context import ANONYMOUS, InteractionSummary, Principal, RequestContext
from fhirstore.plugins.model import HttpRequest

View = Callable[[], Response]


class Security:
    def __init__(self, server: Server, clients: Clients):
        self._server, self._hooks = server, server.hooks
        self._authenticates = bool(server.hooks.authenticate)
        self.is_wanted = self._authenticates or clients.is_wanted
        """Whether a request may have a principal."""
        self.audits = bool(server.hooks.audit)
        """Whether responses are audited, and views must call `record`."""

    def audit_responses(self, app: Flask, public: Collection[str]) -> None:
        """Audits each response with the status that is sent, whatever made it. public: endpoints that are left out."""

        def begin() -> None:
            g.started = time.perf_counter()

        def end(response: Response) -> Response:
            if request.endpoint in public:
                return response
            context, interaction = g.get("recorded") or (RequestContext(), _summary(""))
            seconds = time.perf_counter() - g.started
            audit(self._server, context, interaction, response.status_code, seconds)
            return response

        if self.audits:
            app.before_request(begin)
            app.after_request(end)

    @staticmethod
    def record(context: RequestContext, interaction: InteractionSummary) -> None:
        """Keeps what the audit of the current request reports."""
        g.recorded = (context, interaction)

    def record_route(self, context: RequestContext, name: str, type: str | None = None, id: str | None = None) -> None:
        """The same for a request whose interaction is not known in detail."""
        self.record(context, _summary(name, type, id))

    def principal(self) -> Principal:
        """The caller: the one that a plugin authenticates, else the owner of the client certificate.

        Raises what the plugin raises (401)."""
        certified = _certificate_owner()
        if not self._authenticates:
            return certified
        environ = request.environ
        seen = HttpRequest(request.method, request.path, environ.get("QUERY_STRING", ""), request.headers, environ)
        for hook, context in self._hooks.authenticate:
            found: Principal | None = hook(seen, context)
            if found is not None:
                return found
        return certified

    def guard(self, view: View, name: str) -> View:
        """A view that is not an interaction (pages, metrics), authorized and audited under a name."""
        hooks = self._hooks
        if not (hooks.authenticate or hooks.authorize or hooks.audit):
            return view

        @wraps(view)
        def guarded() -> Response:
            context, interaction = RequestContext(principal=self.principal()), _summary(name)
            self.record(context, interaction)
            for hook, plugin in hooks.authorize:
                hook(context, interaction, plugin)
            return view()

        return guarded


def _summary(name: str, type: str | None = None, id: str | None = None) -> InteractionSummary:
    query = request.environ.get("QUERY_STRING")  # `request.full_path` raises for bytes that are not UTF-8
    url = f"{request.path}?{query}" if query else request.path
    return InteractionSummary(name, type, id, method=request.method, url=url)


def _certificate_owner() -> Principal:
    client = request.environ.get(ENVIRON)
    if client is None:
        return ANONYMOUS
    return Principal(client.common_name, claims={"organizational_units": sorted(client.units)})
