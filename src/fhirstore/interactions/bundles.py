"""Bundles: entries that are requests (https://hl7.org/fhir/R4/http.html#transaction), and Bundles as bytes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fhirstore.errors import FhirError, error, outcome
from fhirstore.formats.headers import read_versions
from fhirstore.formats.json import compose, dumps, instant
from fhirstore.interactions.base import Interaction, RestRequest, Result, dispatch, internal_error, query_pairs
from fhirstore.interactions.body import Body, Parameters
from fhirstore.interactions.routing import Routable, Router
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext
from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
REASONS = {200: "200 OK", 201: "201 Created", 204: "204 No Content", 304: "304 Not Modified"}


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """An entry that was understood. location: its FHIRPath in the Bundle. resource: parsed, None if it has none."""

    index: int
    location: str
    rest: RestRequest
    interaction: Interaction
    full_url: str | None
    resource: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class MalformedEntry:
    """An entry that is not a request."""

    index: int
    location: str
    problem: FhirError


class EntryBody:
    """The resource of an entry. The first call of `resource` gives the parsed one, later calls parse the Bundle again.

    bundle: parses the whole Bundle again."""

    def __init__(self, index: int, parsed: dict[str, Any] | None, bundle: Callable[[], dict[str, Any]]):
        self._index, self._first, self._bundle = index, [parsed], bundle

    def require_json(self) -> None:
        """The Bundle is JSON."""

    def resource(self) -> dict[str, Any]:
        found = self.optional_resource()
        if found is None:
            location = location_of(self._index)
            raise error(
                400, "required", Message("{place}.resource is required.", place=location), f"{location}.resource"
            )
        return found

    def optional_resource(self) -> dict[str, Any] | None:
        if self._first:
            return self._first.pop()
        parsed: dict[str, Any] | None = self._bundle()["entry"][self._index].get("resource")
        return parsed

    def form(self) -> Parameters:
        text = Message("An entry of a Bundle has no form. Use GET [type]?[parameters].")
        raise error(400, "not-supported", text, f"{location_of(self._index)}.request.url")


def location_of(index: int) -> str:
    return f"Bundle.entry[{index}]"


def read_entries(
    router: Router, bundle: dict[str, Any], base: str, again: Callable[[], dict[str, Any]], limit: int
) -> list[BundleEntry | MalformedEntry]:
    """The entries of a Bundle. again: parses the Bundle again. limit: the maximum number of entries.

    Raises 422 for more entries than that, 400 if Bundle.entry is not an array."""
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise error(400, "structure", Message("Bundle.entry must be an array."), "Bundle.entry")
    if len(entries) > limit:
        text = Message(
            "The Bundle has {count} entries; the maximum is {limit} (setting max_bundle_entries).",
            count=len(entries),
            limit=limit,
        )
        raise error(422, "too-costly", text, "Bundle.entry")
    return [_read_entry(router, index, entry, base, again) for index, entry in enumerate(entries)]


def _read_entry(
    router: Router, index: int, entry: Any, base: str, again: Callable[[], dict[str, Any]]
) -> BundleEntry | MalformedEntry:
    location = location_of(index)
    try:
        request = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict):
            text = Message("{place}.request is required in each entry of a batch or transaction.", place=location)
            raise error(400, "required", text, location)
        resource = entry.get("resource")
        if resource is not None and not isinstance(resource, dict):
            raise error(
                400, "structure", Message("{place}.resource must be an object.", place=location), f"{location}.resource"
            )
        rest = _rest_request(location, request, base, EntryBody(index, resource, again))
        interaction = _interaction(router, rest, resource)
        return BundleEntry(index, location, rest, interaction, _text(entry, "fullUrl", location), resource)
    except FhirError as problem:
        return MalformedEntry(index, location, problem)


def _rest_request(location: str, request: dict[str, Any], base: str, body: Body) -> RestRequest:
    at = f"{location}.request"
    method, url = _text(request, "method", at), _text(request, "url", at)
    if method not in METHODS:
        text = Message(
            "{place}.method is {method}; it must be one of {methods}.",
            place=at,
            method=repr(method),
            methods=", ".join(METHODS),
        )
        raise error(400, "value", text, f"{at}.method")
    if url is None:
        raise error(400, "required", Message("{place}.url is required.", place=at), f"{at}.url")
    path, mark, query = url.removeprefix(base).removeprefix("/").partition("?")
    path = path.removesuffix("/")
    if_match, if_none_match = _text(request, "ifMatch", at), _text(request, "ifNoneMatch", at)
    return RestRequest(
        method="GET" if method == "HEAD" else method,
        path=tuple(path.split("/")) if path else (),
        body=body,
        query=query if mark else None,
        parameters=query_pairs(query) if query else [],
        if_match=read_versions(if_match) if if_match is not None else None,
        if_none_match=read_versions(if_none_match) if if_none_match is not None else None,
        if_modified_since=_text(request, "ifModifiedSince", at),
        if_none_exist=_text(request, "ifNoneExist", at),
        entry=location,
    )


def match(router: Router, method: str, path: Sequence[str]) -> tuple[Routable, Mapping[str, str]] | None:
    """The class of interactions and the values of the placeholders of its route, None if no route matches."""
    for segments, interaction in router.by_length.get((method, len(path)), ()):
        values: dict[str, str] = {}
        for segment, given in zip(segments, path, strict=True):
            if segment[0] == "<" and given[:1] not in ("$", "_"):
                values[segment[1:-1]] = given
            elif segment[:2] == "$<" and given[:1] == "$":
                values[segment[2:-1]] = given[1:]
            elif segment != given:
                break
        else:
            return interaction, values
    return None


def _interaction(router: Router, rest: RestRequest, resource: dict[str, Any] | None) -> Interaction:
    matched = match(router, rest.method, rest.path)
    if matched is None:
        text = Message("{method} {url} is not an interaction of this server.", method=rest.method, url=rest.url[:200])
        raise error(400, "not-supported", text, f"{rest.entry}.request")
    kind, path = matched
    interaction: Interaction = kind.from_request(rest, path)
    if resource is None and interaction.is_write and rest.method != "DELETE":
        text = Message("{entry}.resource is required for {method}.", entry=rest.entry, method=rest.method)
        raise error(400, "required", text, f"{rest.entry}.resource")
    return interaction


def _text(parent: dict[str, Any], name: str, at: str) -> str | None:
    value = parent.get(name)
    if value is not None and not isinstance(value, str):
        raise error(400, "structure", Message("{place}.{name} must be a string.", place=at, name=name), f"{at}.{name}")
    return value


# --- responses ------------------------------------------------------------------------------------


class ResponseSpace:
    """The bytes that the entries of a response may still take.

    A write has a response in any case. A read that does not fit, and all reads after it, are refused."""

    def __init__(self, limit: int):
        self._limit = self._left = limit

    def check(self) -> None:
        """Raises 422 if a read was refused before."""
        if self._left <= 0:
            raise too_large_response(self._limit)

    def of_read(self, result: Result) -> bytes:
        """The response entry of a read. Raises 422 if it does not fit."""
        entry = response_entry(result, True)
        self._left -= len(entry)
        self.check()
        return entry

    def of_write(self, result: Result, with_resource: bool) -> bytes:
        """The response entry of a write, without its resource if that does not fit."""
        entry = response_entry(result, with_resource)
        if len(entry) > self._left:
            entry = response_entry(result, False)
        self._left -= len(entry)
        return entry


def too_large_response(limit: int) -> FhirError:
    text = Message(
        "The response is larger than {limit} bytes (setting max_response_bytes). Ask for smaller pages (_count), fewer "
        "included resources, or parts of resources (_elements).",
        limit=limit,
    )
    return error(422, "too-costly", text)


def respond_to_entry(
    server: Server,
    request: RequestContext,
    entry: BundleEntry | MalformedEntry,
    with_resources: bool,
    space: ResponseSpace,
) -> bytes:
    """The response entry of a request that stands for itself."""
    if isinstance(entry, MalformedEntry):
        return error_entry(entry.location, entry.problem)
    is_write = entry.interaction.is_write
    try:
        if not is_write:
            space.check()
        result = dispatch(server, request, entry.rest, entry.interaction)
        return space.of_write(result, with_resources) if is_write else space.of_read(result)
    except FhirError as problem:
        return error_entry(entry.location, problem)
    except Exception as problem:
        # Earlier entries are committed, so the client must learn of them.
        return error_entry(entry.location, internal_error(problem, f"{entry.rest.method} {entry.location}"))


def response_entry(result: Result, with_resource: bool) -> bytes:
    """A response entry: status, location, etag, lastModified, outcome, and the resource if asked for."""
    stored = result.stored
    location = result.location
    response: dict[str, Any] = {"status": REASONS.get(result.status, str(result.status))}
    if location is not None:
        response["location"] = location
    if stored is not None:
        response["etag"] = f'W/"{stored.version}"'
        response["lastModified"] = instant(stored.updated)
    if result.issues:
        response["outcome"] = outcome(*result.issues)
    body = result.body
    if body is None and with_resource and result.status != 304 and stored is not None and not stored.deleted:
        body = compose(stored)
    text = b'"response":' + dumps(response)
    return b"{" + (b'"resource":' + body + b"," if body is not None else b"") + text + b"}"


def error_entry(location: str, problem: FhirError) -> bytes:
    """The response entry of a refused entry."""
    issues = outcome(*(located(issue, location) for issue in problem.issues))
    return b'{"response":' + dumps({"status": str(problem.status), "outcome": issues}) + b"}"


def located(issue: Issue, location: str) -> Issue:
    """The issue with the location of the entry, unless it has a location in the Bundle already."""
    if any(expression.startswith("Bundle.") for expression in issue.expression):
        return issue
    return replace(issue, expression=(location, *issue.expression))


def write_bundle(
    type: str,
    entries: Sequence[bytes],
    *,
    prefix: bytes = b"",
    last: bytes = b"",
    total: int | None = None,
    links: Iterable[tuple[str, str]] = (),
    profile: str | None = None,
) -> bytes:
    """A Bundle of this moment. Empty lists are left out.

    entries: finished ones without their common beginning `prefix`. last: one more entry, complete; empty if there is
    none."""
    link = [{"relation": relation, "url": url} for relation, url in links]
    meta: dict[str, Any] = {"lastUpdated": instant(time.time_ns() // 1_000_000 * 1000)}
    if profile is not None:
        meta["profile"] = [profile]
    head: dict[str, Any] = {"resourceType": "Bundle", "id": str(uuid.uuid4()), "meta": meta, "type": type}
    if total is not None:
        head["total"] = total
    if link:
        head["link"] = link
    text: bytes = dumps(head)
    if not entries:
        return b'%b,"entry":[%b]}' % (text[:-1], last) if last else text
    first, *others = entries
    others = [b'%b,"entry":[%b%b' % (text[:-1], prefix, first), *others]
    others[-1] += b",%b]}" % last if last else b"]}"
    return (b"," + prefix).join(others)
