"""A request as the interactions want it, read once from Flask's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Request
from werkzeug.exceptions import HTTPException

from fhirstore.errors import FhirError, error
from fhirstore.formats.json import parse
from fhirstore.http.negotiate import check_accept, check_content_type
from fhirstore.interactions.conditional import query_pairs
from fhirstore.interactions.context import Server
from fhirstore.interactions.entry import read_tag


def query_of(request: Request) -> tuple[str, list[tuple[str, str]]]:
    """(query string as received, decoded pairs)."""
    raw: str = request.environ.get("QUERY_STRING", "")
    return raw, (query_pairs(raw) if raw else [])


def negotiate(request: Request, params: list[tuple[str, str]]) -> None:
    """Raises 406 unless the answer can be given in an acceptable form."""
    check_accept(request.environ.get("HTTP_ACCEPT"), next((v for n, v in params if n == "_format"), None))


def body_of(request: Request, ctx: Server) -> Callable[[], dict[str, Any]]:
    """A function that parses the request body, anew at each call. Raises 400, 413, 415, 422 at once."""
    check_content_type(request.environ.get("CONTENT_TYPE"))
    raw = raw_body(request, ctx)
    first = [parse(raw, ctx.settings.max_nesting)]

    def fresh() -> dict[str, Any]:
        return first.pop() if first else parse(raw, ctx.settings.max_nesting)

    return fresh


def optional_body_of(request: Request, ctx: Server) -> dict[str, Any] | None:
    """The parsed request body, None where there is none. Raises 400, 413, 415, 422."""
    raw = raw_body(request, ctx)
    if not raw:
        return None
    check_content_type(request.environ.get("CONTENT_TYPE"))
    return parse(raw, ctx.settings.max_nesting)


def raw_body(request: Request, ctx: Server) -> bytes:
    """The body. Raises 413 beyond the limit."""
    most = ctx.settings.max_body_bytes
    if (request.content_length or 0) > most:
        raise too_large(most)
    try:
        return request.get_data(cache=False)
    except HTTPException as e:
        if e.code == 413:
            raise too_large(most) from None
        raise


def too_large(most: int) -> FhirError:
    return error(413, "too-long", f"The body is larger than {most} bytes (setting max_body_bytes).")


def if_match(request: Request) -> str | None:
    """The version that If-Match names; None = not asked."""
    header = request.environ.get("HTTP_IF_MATCH")
    return read_tag(header) if header is not None else None


def base_of(request: Request, ctx: Server) -> str:
    """The base of absolute URLs, without a slash at its end."""
    if ctx.settings.base_url:
        return ctx.settings.base_url.rstrip("/")
    return request.host_url + "fhir"
