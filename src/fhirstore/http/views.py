"""The handlers: each reads the request, calls one interaction, and gives its answer a form."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

from flask import Request as FlaskRequest
from flask import Response, request

from fhirstore.errors import FhirError, error
from fhirstore.formats.compose import compose
from fhirstore.formats.json import dumps
from fhirstore.http import respond
from fhirstore.http.negotiate import read_prefer
from fhirstore.http.request import base_of, body_of, if_match, negotiate, optional_body_of, query_of, raw_body
from fhirstore.interactions import bundle, history, search
from fhirstore.interactions.conditional import query_pairs, read_criteria
from fhirstore.interactions.context import Server
from fhirstore.interactions.create import plan_create
from fhirstore.interactions.delete import plan_conditional_delete, plan_delete
from fhirstore.interactions.entry import read_tag
from fhirstore.interactions.metadata import capability_statement
from fhirstore.interactions.operations.dispatch import Request, operate
from fhirstore.interactions.read import read, vread
from fhirstore.interactions.subset import subset_bytes
from fhirstore.interactions.update import plan_conditional_update, plan_update
from fhirstore.interactions.write import Plan, commit
from fhirstore.model.stored import Stored

Params = list[tuple[str, str]]


def _value(params: Params, name: str) -> str | None:
    return next((v for n, v in params if n == name), None)


def _pretty(params: Params) -> bool:
    return bool(params) and _value(params, "_pretty") == "true"


class Views:
    """One method per route; `ctx` is all they share."""

    def __init__(self, ctx: Server):
        self.ctx = ctx

    # --- reading -----------------------------------------------------------------------------------

    def metadata(self) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        statement = capability_statement(self.ctx, base_of(request, self.ctx))
        return respond.json_response(dumps(statement), 200, _pretty(params))

    def read(self, type: str, id: str) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        return self._one(read(self.ctx, type, id), params)

    def vread(self, type: str, id: str, version: str) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        return self._one(vread(self.ctx, type, id, version), params)

    def _one(self, stored: Stored, params: Params) -> Response:
        if _unchanged(request, stored):
            return respond.not_modified(stored)
        if not params:
            return respond.resource_response(stored)
        elements = tuple(e.strip() for e in (_value(params, "_elements") or "").split(",") if e.strip())
        core, nesting = self.ctx.registry.catalog.core, self.ctx.settings.max_nesting
        body = subset_bytes(core, compose(stored), _value(params, "_summary"), elements, nesting)
        return respond.resource_response(stored, body, 200, _pretty(params))

    def history(self, type: str | None = None, id: str | None = None) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        body = history.history(self.ctx, base_of(request, self.ctx), type, id, params)
        return respond.json_response(body, 200, _pretty(params))

    def search(self, type: str) -> Response:
        raw, params = query_of(request)
        negotiate(request, params)
        strict = read_prefer(request.environ.get("HTTP_PREFER")).strict
        body = search.search(self.ctx, base_of(request, self.ctx), type, params, raw=raw, strict=strict)
        return respond.json_response(body, 200, bool(params) and _pretty(params))

    def search_post(self, type: str) -> Response:
        """POST [type]/_search: https://hl7.org/fhir/R4/search.html#Introduction."""
        _, params = query_of(request)
        given = request.mimetype
        if given not in ("application/x-www-form-urlencoded", ""):
            text = f"Content-Type is {given!r}; application/x-www-form-urlencoded is wanted for _search."
            raise error(415, "not-supported", text, "http.Content-Type")
        form = raw_body(request, self.ctx)
        try:
            params = params + query_pairs(form.decode("utf-8"))
        except UnicodeDecodeError:
            raise error(400, "invalid", "The form body is not UTF-8.") from None
        negotiate(request, params)
        strict = read_prefer(request.environ.get("HTTP_PREFER")).strict
        body = search.search(self.ctx, base_of(request, self.ctx), type, params, strict=strict)
        return respond.json_response(body, 200, _pretty(params))

    def operation(self, operation: str, type: str | None = None, id: str | None = None) -> Response:
        """https://hl7.org/fhir/R4/operations.html#executing"""
        _, params = query_of(request)
        negotiate(request, params)
        asked = Request(request.method, operation, type, id, params)
        answer = operate(self.ctx, base_of(request, self.ctx), asked, lambda: optional_body_of(request, self.ctx))
        if answer is None:
            return Response(status=204)
        response = respond.json_response(dumps(answer), 200, _pretty(params))
        return respond.spoken(response) if answer.get("resourceType") == "OperationOutcome" else response

    # --- writing -----------------------------------------------------------------------------------

    def create(self, type: str) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        self.ctx.served(type, "create")
        fresh = body_of(request, self.ctx)
        text = request.environ.get("HTTP_IF_NONE_EXIST")

        def plan() -> list[Plan]:
            resource = fresh()
            criteria = read_criteria(self.ctx, type, text.partition("?")[2] or text, resource) if text else None
            return [plan_create(self.ctx, type, resource, criteria)]

        return self._write(plan, params)

    def update(self, type: str, id: str) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        self.ctx.served(type, "update")
        fresh, expected = body_of(request, self.ctx), if_match(request)
        return self._write(lambda: [plan_update(self.ctx, type, id, fresh(), expected)], params)

    def update_conditional(self, type: str) -> Response:
        raw, params = query_of(request)
        negotiate(request, params)
        self.ctx.served(type, "update")
        fresh, expected = body_of(request, self.ctx), if_match(request)

        def plan() -> list[Plan]:
            resource = fresh()
            criteria = read_criteria(self.ctx, type, raw, resource)
            return [plan_conditional_update(self.ctx, type, resource, criteria, expected)]

        return self._write(plan, params)

    def delete(self, type: str, id: str) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        expected = if_match(request)
        return self._write(lambda: [plan_delete(self.ctx, type, id, expected)], params)

    def delete_conditional(self, type: str) -> Response:
        raw, params = query_of(request)
        negotiate(request, params)
        self.ctx.served(type, "delete")
        return self._write(lambda: plan_conditional_delete(self.ctx, type, read_criteria(self.ctx, type, raw)), params)

    def _write(self, plan: Callable[[], list[Plan]], params: Params) -> Response:
        result = commit(self.ctx, plan)[0]
        prefer = read_prefer(request.environ.get("HTTP_PREFER"))
        return respond.write_response(result, base_of(request, self.ctx), prefer, _pretty(params))

    def bundle(self) -> Response:
        _, params = query_of(request)
        negotiate(request, params)
        fresh = body_of(request, self.ctx)
        prefer = read_prefer(request.environ.get("HTTP_PREFER"))
        wanted = prefer.returns == "representation" and "return=" in (request.environ.get("HTTP_PREFER") or "")
        body = bundle.process(self.ctx, base_of(request, self.ctx), fresh, with_resource=wanted)
        return respond.json_response(body, 200, _pretty(params))


def _unchanged(request: FlaskRequest, stored: Stored) -> bool:
    """https://hl7.org/fhir/R4/http.html#cread: If-None-Match, else If-Modified-Since."""
    tags = request.environ.get("HTTP_IF_NONE_MATCH")
    if tags is not None:
        return tags.strip() == "*" or str(stored.version) in (read_tag(t) for t in tags.split(","))
    since = request.environ.get("HTTP_IF_MODIFIED_SINCE")
    if since is None:
        return False
    try:
        return stored.updated // 1_000_000 <= int(parsedate_to_datetime(since).timestamp())
    except (ValueError, TypeError):
        return False


def not_a_route(path: str) -> FhirError:
    return error(404, "not-found", f"{path[:120]} is no resource of this server; /metadata lists what is served.")
