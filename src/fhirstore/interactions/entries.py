"""The entries of a searchset: what the view of the search shows of the resources found, as bytes.

What a view shows of a resource is kept with it, without the base of its URLs: an answer of hundreds of entries is then
put together from finished pieces."""

from __future__ import annotations

from collections.abc import Sequence

from fhirstore.formats.compose import compose_parts
from fhirstore.formats.json import dumps
from fhirstore.interactions.context import Server
from fhirstore.interactions.subset import subset_bytes
from fhirstore.model.queries import Query, ResourceView, SearchEntry, ViewedResponse
from fhirstore.model.stored import Stored
from fhirstore.plugins.hookspecs import SearchResponse
from fhirstore.search.run import Found


def beginning(base: str) -> bytes:
    """How every entry begins; what follows is independent of the base."""
    text: bytes = dumps(base + "/")
    return b'{"fullUrl":' + text[:-1]


def entries_of(ctx: Server, query: Query, found: Found) -> tuple[list[bytes], SearchResponse]:
    """The entries, less `beginning`, and what else the answer says."""
    view = query.view
    matches, includes = _pieces(found.matches, view, "match"), _pieces(found.includes, view, "include")
    shown = ViewedResponse(found.matches, found.includes, (), found.total)
    if not (all(matches) and all(includes)):
        shown = _without_hidden(found, matches, includes)
        matches, includes = list(filter(None, matches)), list(filter(None, includes))
    view.finish(shown)
    answer = SearchResponse(query, [], shown.total, shown.profile, list(query.ignored))
    if _is_cut(query) or ctx.plugins.hook.before_return.get_hookimpls():
        answer.entries = _entries(shown, view)
        ctx.plugins.hook.before_return(answer=answer, registry=ctx.registry)
        return [_rewritten(ctx, query, entry) for entry in answer.entries], answer
    pieces = matches + includes
    if shown.left_out:
        resources = [*shown.matches, *shown.includes]
        pieces = [p for p, one in zip(pieces, resources, strict=True) if one.ref not in shown.left_out]
    return pieces, answer


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


def _without_hidden(found: Found, matches: list[bytes], includes: list[bytes]) -> ViewedResponse:
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


def _is_cut(query: Query) -> bool:
    return bool(query.elements) or query.summary in ("true", "text", "data")


def _rewritten(ctx: Server, query: Query, e: SearchEntry) -> bytes:
    """An entry that plugins may have changed, cut to what `_summary` or `_elements` asks for."""
    raw = compose_parts(e.type, e.id, e.version, e.updated, e.meta, e.body)
    core, nesting = ctx.registry.catalog.core, ctx.settings.max_nesting
    return _with_resource(e, subset_bytes(core, raw, query.summary, query.elements, nesting))
