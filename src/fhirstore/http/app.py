"""The WSGI application: a table of routes, and what becomes of errors."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from fhirstore.errors import FhirError, error
from fhirstore.http.clients import Clients
from fhirstore.http.cors import add_cors
from fhirstore.http.health import Health
from fhirstore.http.language import Translated, catalogues
from fhirstore.http.operator import add_operator_pages
from fhirstore.http.request import too_large
from fhirstore.http.respond import refusal
from fhirstore.http.security import Security
from fhirstore.http.views import Views, not_a_route
from fhirstore.interactions.context import Server
from fhirstore.interactions.store_errors import from_store
from fhirstore.store.errors import (
    StoreError,
    TimedOut,
    TooComplex,
    TooLarge,
    Unavailable,
)

log = logging.getLogger("fhirstore.http")

BASE = "/fhir"

# Method, path below the base, handler of `Views`, the interaction that plugins authorize.
ROUTES = (
    ("GET", "/metadata", "metadata", "capabilities"),
    ("POST", "", "bundle", "transaction"),
    ("GET", "/_history", "history", "history-system"),
    ("GET", "/$<operation>", "operation", "operation"),
    ("POST", "/$<operation>", "operation", "operation"),
    ("GET", "/<type>/$<operation>", "operation", "operation"),
    ("POST", "/<type>/$<operation>", "operation", "operation"),
    ("GET", "/<type>/<id>/$<operation>", "operation", "operation"),
    ("POST", "/<type>/<id>/$<operation>", "operation", "operation"),
    ("GET", "/<type>", "search", "search-type"),
    ("POST", "/<type>/_search", "search_post", "search-type"),
    ("GET", "/<type>/_history", "history", "history-type"),
    ("POST", "/<type>", "create", "create"),
    ("PUT", "/<type>", "update_conditional", "update"),
    ("DELETE", "/<type>", "delete_conditional", "delete"),
    ("GET", "/<type>/<id>", "read", "read"),
    ("PUT", "/<type>/<id>", "update", "update"),
    ("DELETE", "/<type>/<id>", "delete", "delete"),
    ("GET", "/<type>/<id>/_history", "history", "history-instance"),
    ("GET", "/<type>/<id>/_history/<version>", "vread", "vread"),
)


def make_app(ctx: Server) -> Flask:
    """The application of one context. Connections are opened on first use, so it may be made before a fork."""
    app = Flask("fhirstore", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = ctx.settings.max_body_bytes
    app.url_map.strict_slashes = False
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    views, clients = Views(ctx), Clients(ctx.settings, BASE)
    security = Security(ctx, clients)
    if clients.is_wanted:
        app.before_request(security.admit)
    for method, path, handler, interaction in ROUTES:
        view = security.guard(getattr(views, handler), interaction)
        app.add_url_rule(BASE + path, f"{method} {path}", view, methods=[method])
    health = Health(ctx, clients)
    app.add_url_rule("/health/live", "live", health.live)
    app.add_url_rule("/health/ready", "ready", health.ready)
    add_operator_pages(app, ctx, security)
    _errors(app, ctx)
    if ctx.settings.cors_origins:
        add_cors(app, ctx.settings.cors_origins)
    app.wsgi_app = Translated(app.wsgi_app, catalogues(ctx.plugins))  # type: ignore[method-assign]
    return app


def _errors(app: Flask, ctx: Server) -> None:
    def fhir(problem: FhirError) -> Response:
        return refusal(problem)

    def http(problem: HTTPException) -> Response:
        if isinstance(problem, RequestEntityTooLarge):
            return refusal(too_large(ctx.settings.max_body_bytes))
        if isinstance(problem, MethodNotAllowed):
            allowed = ", ".join(sorted(problem.valid_methods or ()))
            text = f"{request.method} is not possible on {request.path[:120]}; {allowed} are."
            return refusal(error(405, "not-supported", text, headers={"Allow": allowed}))
        if problem.code == 404:
            return refusal(not_a_route(request.path))
        return refusal(error(problem.code or 500, "invalid", problem.description or problem.name))

    def store(problem: StoreError) -> Response:
        return refusal(from_store(problem))

    def internal(problem: Exception) -> Response:
        id = uuid.uuid4().hex
        log.error("internal error %s on %s %s", id, request.method, request.path, exc_info=problem)
        return refusal(error(500, "exception", f"Internal error {id}; the server's log has the details under this id."))

    handlers: tuple[tuple[type[Exception], Any], ...] = (
        (FhirError, fhir),
        (HTTPException, http),
        (Unavailable, store),
        (TimedOut, store),
        (TooComplex, store),
        (TooLarge, store),
        (Exception, internal),
    )
    for kind, handler in handlers:
        app.register_error_handler(kind, handler)
