"""The plugins' authenticate, authorize and audit hooks around every handler; free of cost where no plugin has them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, request

from fhirstore.errors import FhirError
from fhirstore.http.respond import refusal
from fhirstore.interactions.context import Context
from fhirstore.plugins.hookspecs import Caller, HttpRequest

Handler = Callable[..., Response]


class Security:
    def __init__(self, ctx: Context):
        self.hook = ctx.plugins.hook
        names = (self.hook.authenticate, self.hook.authorize, self.hook.audit)
        self.wanted = any(h.get_hookimpls() for h in names)

    def guard(self, handler: Handler, interaction: str) -> Handler:
        """The handler as it is, or wrapped when some plugin wants to know who asks for what."""
        if not self.wanted:
            return handler

        @wraps(handler)
        def guarded(**path: Any) -> Response:
            started = time.perf_counter()
            seen = HttpRequest(
                request.method, request.path, request.environ.get("QUERY_STRING", ""), request.headers, request.environ
            )
            caller = Caller()
            try:
                caller = self.hook.authenticate(request=seen) or caller
                name = f"${path['operation']}" if "operation" in path else interaction
                self.hook.authorize(caller=caller, interaction=name, type=path.get("type"), id=path.get("id"))
                response = handler(**path)
            except FhirError as problem:
                response = refusal(problem)
            self.hook.audit(
                caller=caller, request=seen, status=response.status_code, seconds=time.perf_counter() - started
            )
            return response

        return guarded
