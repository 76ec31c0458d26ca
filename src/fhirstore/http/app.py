"""The WSGI application: requests become interactions, results and errors become responses."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from fhirstore.errors import FhirError, error
from fhirstore.http import language
from fhirstore.http.clients import Clients
from fhirstore.http.cors import add_cors
from fhirstore.http.health import Health
from fhirstore.http.language import Translated, catalogues
from fhirstore.http.negotiate import check_accept, read_preferences
from fhirstore.http.operator import add_operator_pages
from fhirstore.http.request import base_url, rest_request, too_large
from fhirstore.http.request_id import ENVIRON, RequestIds
from fhirstore.http.respond import interaction_response, refusal
from fhirstore.http.security import Security
from fhirstore.interactions.base import Interaction
from fhirstore.interactions.context import Server
from fhirstore.interactions.dispatcher import dispatch, internal_error
from fhirstore.interactions.routing import Route
from fhirstore.interactions.store_errors import from_store
from fhirstore.model.context import ANONYMOUS, RequestContext
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
    app.wsgi_app = RequestIds(Translated(app.wsgi_app, catalogues(server.plugins)))  # type: ignore[method-assign]
    return app


def _view(server: Server, security: Security, route: Route) -> Any:
    """The view of a route: one interaction."""
    settings, kind = server.settings, route.interaction

    def view(**path: str) -> Response:
        environ = request.environ
        context = RequestContext(
            base=base_url(request, settings, BASE),
            principal=security.principal() if security.is_wanted else ANONYMOUS,
            preferences=read_preferences(environ.get("HTTP_PREFER")),
            language=environ.get(language.ENVIRON, "en"),
            id=environ[ENVIRON],
        )
        try:
            rest = rest_request(request, settings, BASE)
            interaction: Interaction = kind.from_request(rest, path)
            parameters = dict(reversed(getattr(interaction, "parameters", rest.parameters)))
            check_accept(environ.get("HTTP_ACCEPT"), parameters.get("_format"))
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
            text = f"Method {request.method} is not allowed for {request.path[:120]}. Allowed: {allowed}."
            return refusal(error(405, "not-supported", text, headers={"Allow": allowed}))
        if problem.code == 404:
            text = f"Not found: {request.path[:120]}. The FHIR API is at {BASE}; see {BASE}/metadata."
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
