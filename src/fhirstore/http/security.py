"""The principal of a request: client certificates and the plugins' `authenticate` hook.

What a principal may do is decided by the dispatcher, which asks the plugins for each interaction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps

from flask import Response, request

from fhirstore.errors import FhirError
from fhirstore.http.clients import ENVIRON, Clients
from fhirstore.interactions.dispatcher import audit
from fhirstore.interactions.server import Server
from fhirstore.model.context import ANONYMOUS, InteractionSummary, Principal, RequestContext
from fhirstore.plugins.hookspecs import HttpRequest

View = Callable[[], Response]


class Security:
    def __init__(self, server: Server, clients: Clients):
        self._server, self._hook, self.clients = server, server.plugins.hook, clients
        self._authenticates = bool(self._hook.authenticate.get_hookimpls())
        self.is_wanted = self._authenticates or clients.is_wanted
        """Whether a request may have a principal."""

    def admit(self) -> None:
        """Checks the client certificate before every request, whether or not the path exists.

        Raises 401 and 403; plugins audit the refusal."""
        started = time.perf_counter()
        try:
            self.clients.admit(request.environ)
        except FhirError as problem:
            self._audit(RequestContext(), _summary(""), problem.status, started)
            raise

    def principal(self) -> Principal:
        """The caller: the one that a plugin authenticates, else the owner of the client certificate.

        Raises what the plugin raises (401)."""
        certified = _certificate_owner()
        if not self._authenticates:
            return certified
        environ = request.environ
        seen = HttpRequest(request.method, request.path, environ.get("QUERY_STRING", ""), request.headers, environ)
        started = time.perf_counter()
        try:
            found: Principal | None = self._hook.authenticate(http=seen, context=self._server.contexts)
        except FhirError as problem:
            self._audit(RequestContext(), _summary(""), problem.status, started)
            raise
        return found or certified

    def audit_refusal(self, context: RequestContext, name: str, path: Mapping[str, str], problem: FhirError) -> None:
        """Audits a refusal before the interaction is dispatched. path: the placeholders of the route."""
        summary = _summary(name, path.get("type"), path.get("id"))
        audit(self._server, context, summary, problem.status, 0.0)

    def guard(self, view: View, name: str) -> View:
        """A view that is not an interaction (pages, metrics), authorized and audited under a name."""
        hooks = (self._hook.authenticate, self._hook.authorize, self._hook.audit)
        if not any(hook.get_hookimpls() for hook in hooks):
            return view

        @wraps(view)
        def guarded() -> Response:
            started = time.perf_counter()
            context = RequestContext(principal=self.principal())
            summary, status = _summary(name), 500
            try:
                self._hook.authorize(request=context, interaction=summary, context=self._server.contexts)
                response = view()
                status = response.status_code
                return response
            except FhirError as problem:
                status = problem.status
                raise
            finally:
                self._audit(context, summary, status, started)

        return guarded

    def _audit(self, context: RequestContext, summary: InteractionSummary, status: int, started: float) -> None:
        audit(self._server, context, summary, status, time.perf_counter() - started)


def _summary(name: str, type: str | None = None, id: str | None = None) -> InteractionSummary:
    query = request.environ.get("QUERY_STRING")  # `request.full_path` raises for bytes that are not UTF-8
    url = f"{request.path}?{query}" if query else request.path
    return InteractionSummary(name, type, id, method=request.method, url=url)


def _certificate_owner() -> Principal:
    client = request.environ.get(ENVIRON)
    if client is None:
        return ANONYMOUS
    return Principal(client.common_name, claims={"organizational_units": sorted(client.units)})
