"""Bundles as bytes: stored resources are spliced in, never parsed. https://hl7.org/fhir/R4/bundle.html

The rendered entry of a resource is cached with its version, without the base URL, so that a response of hundreds of
entries is joined from finished parts.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from fhirstore.formats.json import compose_parts, dumps, instant
from fhirstore.interactions.server import Server
from fhirstore.interactions.subset import PARTIAL_SUMMARIES, Subset
from fhirstore.model.context import RequestContext
from fhirstore.model.queries import Query, ResourceView, SearchEntry, ViewedResponse
from fhirstore.model.stored import Stored
from fhirstore.plugins.hookspecs import SearchResponse
from fhirstore.search.results import SearchPage


def write_bundle(
    type: str,
    entries: Sequence[bytes],
    *,
    prefix: bytes = b"",
    last: bytes = b"",
    updated: int,
    total: int | None = None,
    links: Iterable[tuple[str, str]] = (),
    profile: str | None = None,
) -> bytes:
    """A Bundle. entries: finished ones, less their common prefixning `prefix`. last: one more, whole; empty = none.
    updated: microseconds, for meta.lastUpdated. Empty lists are left out."""
    meta: dict[str, Any] = {"lastUpdated": instant(updated)}
    if profile is not None:
        meta["profile"] = [profile]
    head: dict[str, Any] = {"resourceType": "Bundle", "id": str(uuid.uuid4()), "meta": meta, "type": type}
    if total is not None:
        head["total"] = total
    link = [{"relation": relation, "url": url} for relation, url in links]
    if link:
        head["link"] = link
    text: bytes = dumps(head)
    if not entries:
        return b'%b,"entry":[%b]}' % (text[:-1], last) if last else text
    first, *others = entries
    others = [b'%b,"entry":[%b%b' % (text[:-1], prefix, first), *others]
    others[-1] += b",%b]}" % last if last else b"]}"
    return (b"," + prefix).join(others)


def entry_prefix(base: str) -> bytes:
    """The start of every entry. What follows it does not depend on the base."""
    text: bytes = dumps(base + "/")
    return b'{"fullUrl":' + text[:-1]


def render_entries(
    server: Server, request: RequestContext, query: Query, found: SearchPage
) -> tuple[list[bytes], SearchResponse]:
    """The entries, without `entry_prefix`, and the other content of the response."""
    view = query.view
    matches, includes = _pieces(found.matches, view, "match"), _pieces(found.includes, view, "include")
    shown = ViewedResponse(found.matches, found.includes, (), found.total)
    if not (all(matches) and all(includes)):
        shown = _without_hidden(found, matches, includes)
        matches, includes = list(filter(None, matches)), list(filter(None, includes))
    view.finish(shown)
    response = SearchResponse(query, [], shown.total, shown.profile, list(query.ignored))
    if (query.elements or query.summary in PARTIAL_SUMMARIES) or server.plugins.hook.before_return.get_hookimpls():
        response.entries = _entries(shown, view)
        server.plugins.hook.before_return(request=request, response=response, context=server.contexts)
        return [_rewritten(server, query, entry) for entry in response.entries], response
    pieces = matches + includes
    if shown.left_out:
        resources = [*shown.matches, *shown.includes]
        pieces = [p for p, one in zip(pieces, resources, strict=True) if one.ref not in shown.left_out]
    return pieces, response


def _pieces(found: Sequence[Stored], view: ResourceView, mode: str) -> list[bytes]:
    """The entries, in their order; empty = not to be shown."""
    name = view.name
    try:
        if mode == "match":
            return [one.cache.matches[name] for one in found]  # type: ignore[union-attr]
        return [one.cache.includes[name] for one in found]  # type: ignore[union-attr]
    except (KeyError, AttributeError):  # some are not cached
        return [_piece(one, view, mode) for one in found]


def _piece(one: Stored, view: ResourceView, mode: str) -> bytes:
    cache = one.cache
    if cache is None:
        entry = _entry(one, mode)
        return _written(entry) if view.show(entry) else b""
    rendered = cache.matches if mode == "match" else cache.includes
    known = rendered.get(view.name)
    if known is None:
        entry = _entry(one, mode)
        known = _written(entry) if view.show(entry) else b""
        if not entry.varies:
            cache.remember(rendered, view.name, known)
    return known


def _entry(one: Stored, mode: str) -> SearchEntry:
    return SearchEntry(one.type, one.id, one.version, one.updated, mode, one.meta, one.body)


def _written(e: SearchEntry) -> bytes:
    return _with_resource(e, compose_parts(e.type, e.id, e.version, e.updated, e.meta, e.body))


def _with_resource(e: SearchEntry, resource: bytes) -> bytes:
    return b'%b/%b","resource":%b,"search":{"mode":"%b"}}' % (e.type.encode(), e.id.encode(), resource, e.mode.encode())


def _without_hidden(found: SearchPage, matches: list[bytes], includes: list[bytes]) -> ViewedResponse:
    both = [*zip(found.matches, matches, strict=True), *zip(found.includes, includes, strict=True)]
    return ViewedResponse(
        [one for one, piece in both[: len(matches)] if piece],
        [one for one, piece in both[len(matches) :] if piece],
        [one for one, piece in both if not piece],
        found.total,
    )


def _entries(shown: ViewedResponse, view: ResourceView) -> list[SearchEntry]:
    entries = [_entry(one, "match") for one in shown.matches if one.ref not in shown.left_out]
    entries += [_entry(one, "include") for one in shown.includes if one.ref not in shown.left_out]
    for entry in entries:
        view.show(entry)
    return entries


def _rewritten(server: Server, query: Query, e: SearchEntry) -> bytes:
    """An entry that plugins may have changed, cut to what `_summary` or `_elements` asks for."""
    raw = compose_parts(e.type, e.id, e.version, e.updated, e.meta, e.body)
    return _with_resource(e, Subset(query.summary, query.elements).of(server, raw))
