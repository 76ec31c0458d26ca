"""Who asks for what: client certificates before every request, the plugins' authenticate, authorize and audit hooks
around every handler; free of cost where neither is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from flask import Response, request

from fhirstore.errors import FhirError
from fhirstore.http.clients import ENVIRON, Clients
from fhirstore.http.respond import refusal
from fhirstore.interactions.context import Server
from fhirstore.model.context import Principal, RequestContext
from fhirstore.plugins.hookspecs import HttpRequest

Handler = Callable[..., Response]


class Security:
    def __init__(self, ctx: Server, clients: Clients):
        self.hook, self.contexts, self.clients = ctx.plugins.hook, ctx.contexts, clients
        names = (self.hook.authenticate, self.hook.authorize, self.hook.audit)
        self.wanted = any(h.get_hookimpls() for h in names)

    def admit(self) -> None:
        """Before every request, also of paths that there are not. Raises 401 and 403; such a refusal is audited."""
        started = time.perf_counter()
        try:
            self.clients.admit(request.environ)
        except FhirError as problem:
            self._audit(RequestContext(), _seen(), None, {}, problem.status, time.perf_counter() - started)
            raise

    def guard(self, handler: Handler, interaction: str) -> Handler:
        """The handler as it is, or wrapped when some plugin wants to know who asks for what."""
        if not self.wanted:
            return handler

        @wraps(handler)
        def guarded(**path: Any) -> Response:
            started = time.perf_counter()
            seen, context = _seen(), RequestContext(principal=_of_certificate())
            name = f"${path['operation']}" if "operation" in path else interaction
            try:
                principal = self.hook.authenticate(http=seen, context=self.contexts)
                if principal is not None:
                    context = replace(context, principal=principal)
                self.hook.authorize(
                    request=context, interaction=name, type=path.get("type"), id=path.get("id"), context=self.contexts
                )
                response = handler(**path)
            except FhirError as problem:
                response = refusal(problem)
            self._audit(context, seen, name, path, response.status_code, time.perf_counter() - started)
            return response

        return guarded

    def _audit(
        self,
        context: RequestContext,
        seen: HttpRequest,
        interaction: str | None,
        path: Mapping[str, Any],
        status: int,
        seconds: float,
    ) -> None:
        self.hook.audit(
            request=context,
            http=seen,
            interaction=interaction,
            type=path.get("type"),
            id=path.get("id"),
            status=status,
            seconds=seconds,
            context=self.contexts,
        )


def _seen() -> HttpRequest:
    environ = request.environ
    return HttpRequest(request.method, request.path, environ.get("QUERY_STRING", ""), request.headers, environ)


def _of_certificate() -> Principal:
    """The client whose certificate was admitted; anonymous without one."""
    client = request.environ.get(ENVIRON)
    if client is None:
        return Principal()
    return Principal(client.common_name, claims={"organizational_units": sorted(client.units)})
