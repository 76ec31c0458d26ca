"""The WSGI application: requests become interactions, results and errors become responses."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from fhirstore.errors import FhirError, error
from fhirstore.http.clients import Clients
from fhirstore.http.cors import add_cors
from fhirstore.http.health import Health
from fhirstore.http.language import catalogues
from fhirstore.http.middleware import RequestScope
from fhirstore.http.negotiate import check_accept
from fhirstore.http.operator import add_operator_pages
from fhirstore.http.request import base_url, request_context, rest_request, too_large
from fhirstore.http.respond import interaction_response, refusal
from fhirstore.http.security import Security
from fhirstore.interactions.base import Interaction, dispatch, internal_error
from fhirstore.interactions.routing import Route
from fhirstore.interactions.server import Server
from fhirstore.interactions.store_errors import from_store
from fhirstore.model.context import ANONYMOUS
from fhirstore.model.messages import Message
from fhirstore.store.errors import StoreError

BASE = "/fhir"


def make_app(server: Server) -> Flask:
    """The application of one server. Connections are opened on first use, so it may be made before a fork."""
    app = Flask("fhirstore", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = server.settings.max_body_bytes
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    clients = Clients(server.settings, BASE)
    security = Security(server, clients)
    if clients.is_wanted:
        app.before_request(security.admit)
    for route in server.router.routes:
        view = _view(server, security, route)
        app.add_url_rule(BASE + route.pattern, f"{route.method} {route.pattern}", view, methods=[route.method])
    health = Health(server, clients)
    app.add_url_rule("/health/live", "live", health.live)
    app.add_url_rule("/health/ready", "ready", health.ready)
    add_operator_pages(app, server, security)
    _handle_errors(app, server)
    if server.settings.cors_origins:
        add_cors(app, server.settings.cors_origins)
    app.wsgi_app = RequestScope(app.wsgi_app, catalogues(server.plugins))  # type: ignore[method-assign]
    return app


def _view(server: Server, security: Security, route: Route) -> Any:
    """The view of a route: one interaction."""
    settings, kind = server.settings, route.interaction

    def view(**path: str) -> Response:
        principal = security.principal() if security.is_wanted else ANONYMOUS
        context = request_context(principal, base_url(settings, BASE), settings.request_timeout_s)
        try:
            rest = rest_request(settings, BASE)
            interaction: Interaction = kind.from_request(rest, path)
            parameters = dict(reversed(getattr(interaction, "parameters", rest.parameters)))
            check_accept(request.environ.get("HTTP_ACCEPT"), parameters.get("_format"))
        except FhirError as problem:
            security.audit_refusal(context, kind.code, path, problem)
            raise
        result = dispatch(server, context, rest, interaction)
        return interaction_response(result, interaction.is_write, context, parameters.get("_pretty") == "true")

    return view


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
