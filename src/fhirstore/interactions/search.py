"""https://hl7.org/fhir/R4/http.html#search: parse, let plugins rewrite, run, let plugins touch up, write the Bundle."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from fhirstore.codec.compose import compose_parts
from fhirstore.codec.json import dumps
from fhirstore.errors import Issue, outcome
from fhirstore.interactions.answer import write_bundle
from fhirstore.interactions.context import Context
from fhirstore.interactions.subset import subset_bytes
from fhirstore.plugins.hookspecs import Answer, AnswerEntry
from fhirstore.search.parse import parse
from fhirstore.search.query import Query
from fhirstore.search.run import run
from fhirstore.settings import Settings
from fhirstore.store.base import Stored

_ILLEGAL = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def search(
    ctx: Context,
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
    query = ctx.plugins.hook.rewrite_search(query=query, registry=ctx.registry) or query
    found = run(ctx.store, ctx.registry, query, ctx.settings, ctx.secret)
    entries = [_answer_entry(s, "match") for s in found.matches]
    entries += [_answer_entry(s, "include") for s in found.includes]
    answer = Answer(query, entries, found.total, outcome=list(query.ignored))
    ctx.plugins.hook.before_return(answer=answer, registry=ctx.registry)
    links = [("self", self_link(base, query))]
    if found.next is not None and query.count is not None:
        links.append(("next", next_link(base, query, found.next)))
    return write_bundle(
        "searchset",
        _entries(ctx, base, answer),
        updated=time.time_ns() // 1_000_000 * 1000,
        total=answer.total,
        links=links,
        profile=answer.profile,
    )


def _settings(ctx: Context, base: str, params: Sequence[tuple[str, str]]) -> Settings:
    """The settings; an absolute reference in the query is read as ours when it begins with the base of the request."""
    settings = ctx.settings
    if settings.base_url is None and any(base in value for _, value in params):
        return replace(settings, base_url=base)
    return settings


def _answer_entry(s: Stored, mode: str) -> AnswerEntry:
    return AnswerEntry(s.type, s.id, s.version, s.updated, mode, s.meta, s.body)


def _entries(ctx: Context, base: str, answer: Answer) -> list[bytes]:
    query = answer.query
    whole = not query.elements and query.summary not in ("true", "text", "data")
    prefix = dumps(base + "/")[1:-1]
    out: list[bytes] = []
    for e in answer.entries:
        resource = compose_parts(e.type, e.id, e.version, e.updated, e.meta, e.body)
        if not whole:
            resource = subset_bytes(
                ctx.registry.catalog.core, resource, query.summary, query.elements, ctx.settings.max_nesting
            )
        ref = f"{e.type}/{e.id}".encode()
        mode = e.mode.encode()
        out.append(b'{"fullUrl":"%b%b","resource":%b,"search":{"mode":"%b"}}' % (prefix, ref, resource, mode))
    if answer.outcome:
        out.append(b'{"resource":%b,"search":{"mode":"outcome"}}' % dumps(outcome(*_unique(answer.outcome))))
    return out


def _unique(issues: Sequence[Issue]) -> list[Issue]:
    return list(dict.fromkeys(issues))


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
