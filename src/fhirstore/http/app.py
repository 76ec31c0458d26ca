"""The WSGI application: its rules, who may reach them, and its error responses."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from fhirstore.errors import FhirError, error
from fhirstore.http.clients import Clients
from fhirstore.http.cors import add_cors
from fhirstore.http.health import Health, StoreProbe
from fhirstore.http.language import catalogues
from fhirstore.http.middleware import Access, RequestScope
from fhirstore.http.operator import add_operator_pages
from fhirstore.http.security import Security
from fhirstore.http.target import make_hosts, origin_of
from fhirstore.http.views import BASE, RunningSearches, interaction_view, refusal, too_large
from fhirstore.interactions.base import internal_error
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import from_store
from fhirstore.model.messages import Message
from fhirstore.store.errors import StoreError

__all__ = ["BASE", "make_app"]


def make_app(server: Server, listening_on: str | None = None, threads: int | None = None) -> Flask:
    """The application of one server. Connections are opened on first use, so it may be made before a fork.

    listening_on: the host name or address of the socket, None if it is unknown. threads: those that call the
    application, None if their number is unknown."""
    settings = server.settings
    app = Flask("fhirstore", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    clients, hosts = Clients(settings), make_hosts(settings, listening_on)
    own_origins = (origin_of(settings.base_url),) if settings.base_url else ()
    access = Access(clients, hosts, (*own_origins, *settings.cors_origins))
    security = Security(server, clients)
    security.audit_responses(app, access.public)
    app.before_request(access.admit)
    limit = settings.max_running_searches or (threads and max(1, threads - 1))
    searches = RunningSearches(limit) if limit else None
    for route in server.router.routes:
        view = interaction_view(server, security, route, searches)
        app.add_url_rule(BASE + route.pattern, f"{route.method} {route.pattern}", view, methods=[route.method])
    probe = StoreProbe(server.store)
    health = Health(server, clients, hosts, probe, listening_on)
    for endpoint, report in (("live", health.live), ("ready", health.ready)):
        app.add_url_rule(f"/health/{endpoint}", endpoint, report)
        access.public.add(endpoint)
    add_operator_pages(app, server, security, clients, probe, access.operator)
    _handle_errors(app, server)
    if settings.cors_origins:
        add_cors(app, settings.cors_origins, access.operator)
    app.wsgi_app = RequestScope(app.wsgi_app, catalogues(server.plugins))  # type: ignore[method-assign]
    return app


def _handle_errors(app: Flask, server: Server) -> None:
    def fhir_error(problem: FhirError) -> Response:
        return refusal(problem)

    def http_error(problem: HTTPException) -> Response:
        if isinstance(problem, RequestEntityTooLarge):
            return refusal(too_large(server.settings.max_body_bytes))
        if isinstance(problem, MethodNotAllowed):
            allowed = ", ".join(sorted(problem.valid_methods or ()))
            text = Message(
                "Method {method} is not allowed for {path}. Allowed: {allowed}.",
                method=request.method,
                path=request.path[:120],
                allowed=allowed,
            )
            return refusal(error(405, "not-supported", text, headers={"Allow": allowed}))
        if problem.code == 404:
            text = Message(
                "Not found: {path}. The FHIR API is at {base}; see {base}/metadata.", path=request.path[:120], base=BASE
            )
            return refusal(error(404, "not-found", text))
        return refusal(error(problem.code or 500, "invalid", problem.description or problem.name))

    def store_error(problem: StoreError) -> Response:
        return refusal(from_store(problem))

    def other_error(problem: Exception) -> Response:
        return refusal(internal_error(problem, f"{request.method} {request.path}"))

    handlers: tuple[tuple[type[Exception], Any], ...] = (
        (FhirError, fhir_error),
        (HTTPException, http_error),
        (StoreError, store_error),
        (Exception, other_error),
    )
    for kind, handler in handlers:
        app.register_error_handler(kind, handler)
