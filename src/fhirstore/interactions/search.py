"""https://hl7.org/fhir/R4/http.html#search: parse, let plugins rewrite, run, let plugins adjust, write the Bundle.

The rendered entry of a resource is cached with its version, without the base URL, so that a response of hundreds of
entries is joined from finished parts. Stored resources are spliced in, never parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self
from urllib.parse import quote

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import compose_parts, dumps
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.bundles import too_large_response, write_bundle
from fhirstore.interactions.server import Server
from fhirstore.interactions.subset import PARTIAL_SUMMARIES, Subset
from fhirstore.model.context import RequestContext
from fhirstore.model.queries import Query, ResourceView, SearchEntry, ViewedResponse
from fhirstore.model.stored import Stored
from fhirstore.plugins.model import SearchResponse
from fhirstore.search.parse import parse
from fhirstore.search.results import SearchPage, run
from fhirstore.settings import Settings

_ILLEGAL = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]")
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Interaction):
    """A search on one type. parameters: decoded. raw: the query string as received, which the self link repeats. None
    if the parameters come from a form."""

    code: ClassVar[str] = "search-type"

    type: str
    parameters: Sequence[tuple[str, str]] = ()
    raw: str | None = None

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        return cls(**path, parameters=rest.parameters, raw=rest.query or "")

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises 400 for parameters without a meaning, 422 beyond a limit."""
        query = parse(
            server.registry,
            self.type,
            self.parameters,
            _settings(server, request.base, self.parameters),
            strict=request.preferences.strict,
            raw=self.raw,
            secret=server.secret,
        )
        for hook, context in server.hooks.rewrite_search:
            rewritten = hook(request, query, context)
            if rewritten is not None:
                query = rewritten
                break
        found = run(server.store, server.registry, query, server.settings, server.secret)
        entries, response = render_entries(server, request, query, found)
        if sum(map(len, entries)) > server.settings.max_response_bytes:
            raise too_large_response(server.settings.max_response_bytes)
        links = [("self", self_link(request.base, query))]
        if found.next is not None and query.count is not None:
            links.append(("next", next_link(request.base, query, found.next)))
        body = write_bundle(
            "searchset",
            entries,
            prefix=entry_prefix(request.base),
            last=_outcome(response.outcome),
            total=response.total,
            links=links,
            profile=response.profile,
        )
        return Result(200, body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchByForm(Search):
    """POST [type]/_search: https://hl7.org/fhir/R4/search.html#Introduction."""

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        return cls(**path, parameters=[*rest.parameters, *rest.body.form()])


def _settings(server: Server, base: str, parameters: Sequence[tuple[str, str]]) -> Settings:
    """The settings; an absolute reference in the query is read as ours when it begins with the base of the request."""
    settings = server.settings
    if settings.base_url is None and any(base in value for _, value in parameters):
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


def _link(base: str, type: str, parameters: Sequence[tuple[str, str]]) -> str:
    text = "&".join(f"{quote(n, safe='_:.')}={quote(v, safe=':/-,.*')}" for n, v in parameters)
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


# --- entries --------------------------------------------------------------------------------------


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
    if (query.elements or query.summary in PARTIAL_SUMMARIES) or server.hooks.before_return:
        response.entries = _entries(shown, view)
        for hook, context in server.hooks.before_return:
            hook(request, response, context)
        subset = Subset(query.summary, query.elements)
        return [_rewritten(server, subset, entry) for entry in response.entries], response
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


def _rewritten(server: Server, subset: Subset, e: SearchEntry) -> bytes:
    """An entry that plugins may have changed, cut to what `_summary` or `_elements` asks for."""
    raw = compose_parts(e.type, e.id, e.version, e.updated, e.meta, e.body)
    return _with_resource(e, subset.of(server, raw))
