"""https://hl7.org/fhir/R4/http.html#history: the versions of a resource, a type, or everything, newest first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fhirstore.errors import error
from fhirstore.formats.compose import compose, instant
from fhirstore.formats.json import dumps
from fhirstore.interactions.answer import write_bundle
from fhirstore.interactions.context import Server
from fhirstore.model.stored import Stored
from fhirstore.search.paging import read_token, write_token
from fhirstore.search.values import date_interval
from fhirstore.store.protocol import ResultPage, with_snapshot


def _status(s: Stored) -> str:
    if s.deleted:
        return "204 No Content"
    return "201 Created" if s.version == 1 else "200 OK"


@dataclass(frozen=True, slots=True)
class _Asked:
    count: int
    since: int | None
    at: tuple[int, int] | None
    after: list[Any] | None
    total: int | None  # as counted for the first page
    kept: tuple[tuple[str, str], ...]


def history(ctx: Server, base: str, type: str | None, id: str | None, params: Sequence[tuple[str, str]]) -> bytes:
    """A history Bundle. Raises 404 for a resource that never existed, 400 for parameters that are not understood."""
    if type is not None:
        ctx.served(type, "history-instance" if id is not None else "history-type")
    elif "history-system" not in ctx.registry.interactions:
        raise error(405, "not-supported", "The interaction history-system is not served here.")
    place = "/".join(p for p in (type, id, "_history") if p)
    asked = _read_params(ctx, place, params)
    page, total = with_snapshot(ctx.store, partial(_read, ctx, type, id, asked))
    links = [("self", _url(base, place, params))]
    if page.next is not None:
        token = write_token(ctx.secret, place, asked.kept, page.next, total)
        links.append(("next", _url(base, place, [*asked.kept, ("_count", str(asked.count)), ("_page", token)])))
    entries = [_entry(base, s) for s in page.entries]
    return write_bundle("history", entries, updated=_now(), total=total, links=links)


def _read(ctx: Server, type: str | None, id: str | None, asked: _Asked) -> tuple[ResultPage, int | None]:
    """The page and the total."""
    if type is not None and id is not None and ctx.store.read(type, id) is None:
        raise error(404, "not-found", f"{type}/{id[:80]} does not exist and never did.")
    if asked.at is not None:
        return _page_at(ctx, type, id, asked, asked.at), None
    page = ctx.store.history(type, id, asked.since, None, asked.after, asked.count)
    first = asked.after is None
    return page, ctx.store.history_count(type, id, asked.since, None) if first else asked.total


def _page_at(ctx: Server, type: str | None, id: str | None, asked: _Asked, at: tuple[int, int]) -> ResultPage:
    """Versions that were current at some time in [low, high): https://hl7.org/fhir/R4/http.html#history `_at`."""
    low, high = at
    found: list[Stored] = []
    after, size = asked.after, max(asked.count, 200)
    while True:
        page = ctx.store.history(type, id, asked.since, high, after, size)
        for n, stored in enumerate(page.entries):
            if stored.updated >= low or _replaced_after(ctx, stored, low):
                found.append(stored)
                if len(found) == asked.count:
                    seen = ctx.store.history(type, id, asked.since, high, after, n + 1)
                    return ResultPage(found, seen.next)
        if page.next is None:
            return ResultPage(found, None)
        after = page.next


def _replaced_after(ctx: Server, stored: Stored, low: int) -> bool:
    following = ctx.store.read(stored.type, stored.id, stored.version + 1)
    return following is None or following.updated > low


def _read_params(ctx: Server, place: str, params: Sequence[tuple[str, str]]) -> _Asked:
    values = {name: value for name, value in params if value}
    zone = ZoneInfo(ctx.settings.timezone)

    def moment(name: str) -> tuple[int, int] | None:
        if name not in values:
            return None
        try:
            return date_interval(values[name], zone)
        except ValueError as e:
            raise error(400, "value", f"{name}: {e}", f"http.{name}") from None

    count = values.get("_count", str(ctx.settings.default_count))
    if not (count.isascii() and count.isdigit() and len(count) < 10):
        raise error(400, "value", f"_count is {count[:40]!r}; a whole number is wanted.", "http._count")
    kept = tuple((n, v) for n, v in params if n not in ("_page", "_count"))
    since = moment("_since")
    after, total = read_token(ctx.secret, place, kept, values["_page"]) if "_page" in values else (None, None)
    size = min(max(int(count), 1), ctx.settings.max_count)
    return _Asked(size, since[0] if since else None, moment("_at"), after, total, kept)


def _entry(base: str, s: Stored) -> bytes:
    url = s.type if s.method == "POST" else s.ref
    request = dumps({"method": s.method, "url": url})
    response = dumps({"status": _status(s), "etag": f'W/"{s.version}"', "lastModified": instant(s.updated)})
    resource = b"" if s.deleted else b',"resource":' + compose(s)
    full = dumps(f"{base}/{s.ref}")
    return b"".join((b'{"fullUrl":', full, resource, b',"request":', request, b',"response":', response, b"}"))


def _url(base: str, place: str, params: Sequence[tuple[str, str]]) -> str:
    query = "&".join(f"{quote(n, safe='_:.')}={quote(v, safe=':/-,.')}" for n, v in params)
    return f"{base}/{place}" + (f"?{query}" if query else "")


def _now() -> int:
    return time.time_ns() // 1_000_000 * 1000
