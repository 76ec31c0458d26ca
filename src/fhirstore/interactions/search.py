"""https://hl7.org/fhir/R4/http.html#search: parse, let plugins rewrite, run, let plugins adjust, write the Bundle."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self
from urllib.parse import quote

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.interactions.base import Interaction
from fhirstore.interactions.bundles import entry_prefix, render_entries, write_bundle
from fhirstore.interactions.rest import RestRequest, Result
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext
from fhirstore.model.queries import Query
from fhirstore.search.parse import parse
from fhirstore.search.results import run
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
        hook = server.plugins.hook
        query = hook.rewrite_search(request=request, query=query, context=server.contexts) or query
        found = run(server.store, server.registry, query, server.settings, server.secret)
        entries, response = render_entries(server, request, query, found)
        links = [("self", self_link(request.base, query))]
        if found.next is not None and query.count is not None:
            links.append(("next", next_link(request.base, query, found.next)))
        body = write_bundle(
            "searchset",
            entries,
            prefix=entry_prefix(request.base),
            last=_outcome(response.outcome),
            updated=time.time_ns() // 1_000_000 * 1000,
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
