"""https://hl7.org/fhir/R4/http.html#history: the versions of a resource, a type, or everything, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self
from urllib.parse import quote

from fhirstore.errors import error
from fhirstore.formats.json import compose, dumps, instant
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.bundles import too_large_response, write_bundle
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored
from fhirstore.search.paging import read_token, write_token
from fhirstore.search.values import date_interval
from fhirstore.store.protocol import ResultPage, with_snapshot

Parameters = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class History(Interaction):
    """A page of versions. parameters: `_count`, `_since`, `_at` and `_page`."""

    code: ClassVar[str] = "history-system"

    parameters: Parameters = ()

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        return cls(**path, parameters=rest.parameters)

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises 404 for a resource that never existed, 400 for invalid parameters."""
        path = "/".join(p for p in (self.type, self.id, "_history") if p)
        scope = _read_parameters(server, path, self.parameters)
        page, total = with_snapshot(server.store, partial(_read, server, self.type, self.id, scope))
        links = [("self", _url(request.base, path, self.parameters))]
        if page.next is not None:
            token = write_token(server.secret, path, scope.identity, page.next, total)
            following = [*scope.identity, ("_count", str(scope.count)), ("_page", token)]
            links.append(("next", _url(request.base, path, following)))
        entries = [_entry(request.base, s) for s in page.entries]
        if sum(map(len, entries)) > server.settings.max_response_bytes:
            raise too_large_response(server.settings.max_response_bytes)
        return Result(200, body=write_bundle("history", entries, total=total, links=links))


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeHistory(History):
    """The versions of all resources of a type."""

    code: ClassVar[str] = "history-type"

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceHistory(History):
    """The versions of one resource."""

    code: ClassVar[str] = "history-instance"

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class _Scope:
    """Which versions a page has. count: 0 for the total alone. at: an interval [low, high). after: where the page
    starts. total: as counted for the first page. identity: the parameters that the page token is bound to."""

    count: int
    since: int | None
    at: tuple[int, int] | None
    after: list[Any] | None
    total: int | None
    identity: tuple[tuple[str, str], ...]


def _read(server: Server, type: str | None, id: str | None, scope: _Scope) -> tuple[ResultPage, int | None]:
    """The page and the total."""
    if type is not None and id is not None and server.store.read(type, id) is None:
        raise error(404, "not-found", Message("{type}/{id} never existed.", type=type, id=id[:80]))
    if scope.count == 0:  # as _summary=count: https://hl7.org/fhir/R4/search.html#count
        total = None if scope.at is not None else server.store.history_count(type, id, scope.since, None)
        return ResultPage([], None), total
    if scope.at is not None:
        return _page_at(server, type, id, scope, scope.at), None
    page = server.store.history(type, id, scope.since, None, scope.after, scope.count)
    first = scope.after is None
    return page, server.store.history_count(type, id, scope.since, None) if first else scope.total


def _page_at(server: Server, type: str | None, id: str | None, scope: _Scope, at: tuple[int, int]) -> ResultPage:
    """Versions that were current at some time in [low, high): https://hl7.org/fhir/R4/http.html#history `_at`."""
    low, high = at
    found: list[Stored] = []
    after, size = scope.after, max(scope.count, 200)
    while True:
        page = server.store.history(type, id, scope.since, high, after, size)
        for n, stored in enumerate(page.entries):
            if stored.updated >= low or _replaced_after(server, stored, low):
                found.append(stored)
                if len(found) == scope.count:
                    seen = server.store.history(type, id, scope.since, high, after, n + 1)
                    return ResultPage(found, seen.next)
        if page.next is None:
            return ResultPage(found, None)
        after = page.next


def _replaced_after(server: Server, stored: Stored, low: int) -> bool:
    following = server.store.read(stored.type, stored.id, stored.version + 1)
    return following is None or following.updated > low


def _read_parameters(server: Server, path: str, params: Sequence[tuple[str, str]]) -> _Scope:
    values = {name: value for name, value in params if value}

    def moment(name: str) -> tuple[int, int] | None:
        if name not in values:
            return None
        try:
            return date_interval(values[name], server.timezone)
        except ValueError as e:
            raise error(400, "value", Message("{name}: {reason}", name=name, reason=e), f"http.{name}") from None

    count = values.get("_count", str(server.settings.default_count))
    if not (count.isascii() and count.isdigit() and len(count) < 10):
        raise error(
            400,
            "value",
            Message("_count is {count}; it must be a whole number.", count=repr(count[:40])),
            "http._count",
        )
    identity = tuple((n, v) for n, v in params if n not in ("_page", "_count"))
    since = moment("_since")
    after, total = read_token(server.secret, path, identity, values["_page"]) if "_page" in values else (None, None)
    return _Scope(
        min(int(count), server.settings.max_count), since[0] if since else None, moment("_at"), after, total, identity
    )


def _status(s: Stored) -> str:
    if s.deleted:
        return "204 No Content"
    return "201 Created" if s.version == 1 else "200 OK"


def _entry(base: str, s: Stored) -> bytes:
    url = s.type if s.method == "POST" else s.ref
    request = dumps({"method": s.method, "url": url})
    response = dumps({"status": _status(s), "etag": f'W/"{s.version}"', "lastModified": instant(s.updated)})
    resource = b"" if s.deleted else b',"resource":' + compose(s)
    full = dumps(f"{base}/{s.ref}")
    return b"".join((b'{"fullUrl":', full, resource, b',"request":', request, b',"response":', response, b"}"))


def _url(base: str, path: str, params: Sequence[tuple[str, str]]) -> str:
    query = "&".join(f"{quote(n, safe='_:.')}={quote(v, safe=':/-,.')}" for n, v in params)
    return f"{base}/{path}" + (f"?{query}" if query else "")
