"""https://hl7.org/fhir/R4/http.html#search: parse, let plugins rewrite, run, let plugins touch up, write the Bundle."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.interactions.answer import write_bundle
from fhirstore.interactions.context import NO_REQUEST, Server
from fhirstore.interactions.entries import beginning, entries_of
from fhirstore.model.queries import Query
from fhirstore.search.parse import parse
from fhirstore.search.run import run
from fhirstore.settings import Settings

_ILLEGAL = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def search(
    ctx: Server,
    base: str,
    type: str,
    params: Sequence[tuple[str, str]],
    *,
    raw: str | None = None,
    strict: bool = False,
) -> bytes:
    """A searchset Bundle. raw: the query string of a GET, repeated in the self link."""
    ctx.served(type, "search-type")
    query = parse(
        ctx.registry, type, list(params), _settings(ctx, base, params), strict=strict, raw=raw, secret=ctx.secret
    )
    query = ctx.plugins.hook.rewrite_search(request=NO_REQUEST, query=query, context=ctx.contexts) or query
    found = run(ctx.store, ctx.registry, query, ctx.settings, ctx.secret)
    entries, answer = entries_of(ctx, query, found)
    links = [("self", self_link(base, query))]
    if found.next is not None and query.count is not None:
        links.append(("next", next_link(base, query, found.next)))
    return write_bundle(
        "searchset",
        entries,
        begin=beginning(base),
        last=_outcome(answer.outcome),
        updated=time.time_ns() // 1_000_000 * 1000,
        total=answer.total,
        links=links,
        profile=answer.profile,
    )


def _settings(ctx: Server, base: str, params: Sequence[tuple[str, str]]) -> Settings:
    """The settings; an absolute reference in the query is read as ours when it begins with the base of the request."""
    settings = ctx.settings
    if settings.base_url is None and any(base in value for _, value in params):
        return replace(settings, base_url=base)
    return settings


def _outcome(issues: Sequence[Issue]) -> bytes:
    """The entry that says what did not take effect."""
    if not issues:
        return b""
    return b'{"resource":%b,"search":{"mode":"outcome"}}' % dumps(outcome(*dict.fromkeys(issues)))


def self_link(base: str, query: Query) -> str:
    """The query as received where all of it took effect, else what took effect; only what a URI forbids is encoded."""
    if query.raw is not None and not query.ignored:
        return f"{base}/{query.type}" + (f"?{legal(query.raw)}" if query.raw else "")
    return _link(base, query.type, query.used)


def next_link(base: str, query: Query, token: str) -> str:
    kept = [(n, v) for n, v in query.used if n != "_page"]
    return _link(base, query.type, [*kept, ("_page", token)])


def _link(base: str, type: str, params: Sequence[tuple[str, str]]) -> str:
    text = "&".join(f"{quote(n, safe='_:.')}={quote(v, safe=':/-,.*')}" for n, v in params)
    return f"{base}/{type}" + (f"?{text}" if text else "")


def legal(query: str) -> str:
    """A received query string (bytes as latin-1, as WSGI hands it over) as a legal URI:
    https://www.rfc-editor.org/rfc/rfc3986#section-3.4."""
    text = _BARE_PERCENT.sub("%25", query)
    return (
        _ILLEGAL.sub(lambda m: quote(m[0].encode("latin-1", "replace"), safe=""), text)
        .replace("[", "%5B")
        .replace("]", "%5D")
        .replace("#", "%23")
    )
