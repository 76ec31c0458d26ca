"""https://hl7.org/fhir/R4/http.html#search: parse, let plugins rewrite, run, let plugins touch up, write the Bundle."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from fhirstore.codec.compose import compose_parts, instant
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
_ENDS = {mode: f'}},"search":{{"mode":"{mode}"}}}},'.encode() for mode in ("match", "include", "outcome")}
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
    query = ctx.plugins.hook.rewrite_search(query=query, registry=ctx.registry, options=ctx.options) or query
    found = run(ctx.store, ctx.registry, query, ctx.settings, ctx.secret)
    entries = _answer_entries(found.matches, "match")
    entries += _answer_entries(found.includes, "include")
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


def _answer_entries(found: Sequence[Stored], mode: str) -> list[AnswerEntry]:
    return [
        AnswerEntry(type, id, version, updated, mode, meta, body)
        for type, id, version, updated, _, _, meta, body, _ in found
    ]


def _entries(ctx: Context, base: str, answer: Answer) -> list[bytes]:
    """The entries as JSON, in pieces. One answer has hundreds of them: what they share is written once."""
    query = answer.query
    if query.elements or query.summary in ("true", "text", "data"):
        pieces = [_cut_entry(ctx, base, query, e) for e in answer.entries]
    else:
        pieces = _whole_entries(base, answer.entries)
    if answer.outcome:
        pieces.append(b'{"resource":%b,"search":{"mode":"outcome"}},' % dumps(outcome(*_unique(answer.outcome))))
    return pieces


def _whole_entries(base: str, entries: Sequence[AnswerEntry]) -> list[bytes]:
    url = dumps(base + "/")[:-1].decode()
    pieces: list[bytes] = []
    stamps: dict[tuple[int, int], str] = {}
    begin = middle = stamp = type = mode = ""
    end = b""
    version = updated = -1
    for e in entries:
        if e.type != type or e.mode != mode:
            type, mode = e.type, e.mode
            begin, middle = f'{{"fullUrl":{url}{type}/', f'","resource":{{"resourceType":"{type}","id":"'
            end = _ENDS[mode]
        if e.version != version or e.updated != updated:
            version, updated = at = e.version, e.updated
            if at not in stamps:
                stamps[at] = f'","meta":{{"versionId":"{version}","lastUpdated":"{instant(updated)}"'
            stamp = stamps[at]
        id, meta, body = e.id, e.meta, e.body
        head = f"{begin}{id}{middle}{id}{stamp}".encode()
        if meta and body:
            pieces += (head, b",", meta, b"},", body, end)
        else:
            pieces += (head, b"," if meta else b"", meta, b"}," if body else b"}", body, end)
    return pieces


def _cut_entry(ctx: Context, base: str, query: Query, e: AnswerEntry) -> bytes:
    raw = compose_parts(e.type, e.id, e.version, e.updated, e.meta, e.body)
    core, nesting = ctx.registry.catalog.core, ctx.settings.max_nesting
    cut = subset_bytes(core, raw, query.summary, query.elements, nesting)
    return b'{"fullUrl":%b,"resource":%b%b' % (dumps(f"{base}/{e.type}/{e.id}"), cut[:-1], _ENDS[e.mode])


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
