"""Entries of batch and transaction Bundles, read and answered: https://hl7.org/fhir/R4/bundle.html#batch."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from fhirstore.errors import FhirError, Issue, error, outcome
from fhirstore.formats.compose import compose, instant
from fhirstore.formats.json import dumps
from fhirstore.interactions.conditional import query_pairs
from fhirstore.interactions.context import Server
from fhirstore.interactions.history import history
from fhirstore.interactions.metadata import capability_statement
from fhirstore.interactions.operations.dispatch import Request, operate
from fhirstore.interactions.read import read, vread
from fhirstore.interactions.result import REASONS, Result
from fhirstore.interactions.search import search

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """One request of a Bundle. path: the URL's segments below the base. query: its query string, None without "?".
    if_match: the version named, None = not asked."""

    n: int
    method: str
    path: tuple[str, ...]
    query: str | None
    full_url: str | None
    resource: dict[str, Any] | None
    if_match: str | None
    if_none_exist: str | None

    @property
    def where(self) -> str:
        return f"Bundle.entry[{self.n}]"

    @property
    def operation(self) -> str | None:
        """The name of an operation, without "$"; None where the URL names none."""
        is_operation = 0 < len(self.path) <= 3 and self.path[-1].startswith("$")
        return self.path[-1][1:] if is_operation else None

    @property
    def type(self) -> str:
        return self.path[0] if self.path else ""


def read_tag(text: str) -> str:
    """The version of an ETag: W/"3", "3" or 3."""
    found = _TAG.fullmatch(text.strip())
    return found[1] if found else text.strip()


def read_entries(ctx: Server, bundle: dict[str, Any], base: str) -> list[BundleEntry]:
    """Raises 422 when there are too many, 400 for an entry that is no request."""
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise error(400, "structure", "Bundle.entry is not an array; a list of entries is wanted.", "Bundle.entry")
    most = ctx.settings.max_bundle_entries
    if len(entries) > most:
        raise error(
            422,
            "too-costly",
            f"The Bundle has {len(entries)} entries; at most {most} (setting max_bundle_entries).",
            "Bundle.entry",
        )
    return [_read_entry(n, e, base) for n, e in enumerate(entries)]


def _read_entry(n: int, entry: Any, base: str) -> BundleEntry:
    where = f"Bundle.entry[{n}]"

    def text(holder: dict[str, Any], name: str, at: str) -> str | None:
        value = holder.get(name)
        if value is not None and not isinstance(value, str):
            raise error(400, "structure", f"{at}.{name} is not a string.", f"{at}.{name}")
        return value

    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict):
        raise error(
            400, "required", f"{where}.request is missing: each entry of a batch or transaction has one.", where
        )
    at = f"{where}.request"
    method, url = text(request, "method", at), text(request, "url", at)
    if method not in METHODS:
        raise error(400, "value", f"{at}.method is {method!r}; one of {', '.join(METHODS)} is wanted.", f"{at}.method")
    if url is None:
        raise error(400, "required", f"{at}.url is missing.", f"{at}.url")
    if url.startswith(base):
        url = url[len(base) :]
    path, mark, query = url.partition("?")
    resource = entry.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise error(400, "structure", f"{where}.resource is not a JSON object.", f"{where}.resource")
    segments = tuple(p for p in path.split("/") if p)
    is_operation = bool(segments) and segments[-1].startswith("$")
    if method in ("POST", "PUT") and resource is None and not is_operation:
        raise error(400, "required", f"{where}.resource is missing: {method} needs one.", f"{where}.resource")
    tag = text(request, "ifMatch", at)
    return BundleEntry(
        n,
        method,
        segments,
        query if mark else None,
        text(entry, "fullUrl", where),
        resource,
        read_tag(tag) if tag is not None else None,
        text(request, "ifNoneExist", at),
    )


def get(ctx: Server, base: str, entry: BundleEntry) -> bytes:
    """The answer to a GET entry, written as a response entry. Raises as the interaction does."""
    path, params = entry.path, query_pairs(entry.query or "")
    raw = entry.query or ""
    if len(path) == 1 and path[0] == "metadata":
        return response_entry(Result(200, body=dumps(capability_statement(ctx, base))), True)
    if entry.operation is not None:
        return operation(ctx, base, entry)
    if path and path[-1] == "_history" and len(path) <= 3:
        place = (*path[:-1], None, None)
        return response_entry(Result(200, body=history(ctx, base, place[0], place[1], params)), True)
    if len(path) == 4 and path[2] == "_history":
        return response_entry(Result(200, vread(ctx, path[0], path[1], path[3])), True)
    if len(path) == 2:
        return response_entry(Result(200, read(ctx, path[0], path[1])), True)
    if len(path) == 1:
        return response_entry(Result(200, body=search(ctx, base, path[0], params, raw=raw)), True)
    raise unknown(entry)


def operation(ctx: Server, base: str, entry: BundleEntry) -> bytes:
    """The answer to an entry that asks for an operation. Raises as the operation does."""
    type, id = (*entry.path[:-1], None, None)[:2]
    asked = Request(entry.method, entry.operation or "", type, id, query_pairs(entry.query or ""))
    answer = operate(ctx, base, asked, lambda: entry.resource)
    return response_entry(Result(204) if answer is None else Result(200, body=dumps(answer)), True)


def unknown(entry: BundleEntry) -> FhirError:
    """400 for an entry whose method and URL name no interaction."""
    url = "/".join(entry.path) + (f"?{entry.query}" if entry.query is not None else "")
    return error(
        400, "not-supported", f"{entry.method} {url} is no interaction of this server.", f"{entry.where}.request"
    )


def response_entry(result: Result, with_resource: bool) -> bytes:
    """A response entry: status, location, etag, lastModified, the resource where asked for."""
    stored = result.stored
    response: dict[str, Any] = {"status": REASONS.get(result.status, str(result.status))}
    if result.location is not None:
        response["location"] = result.location
    if stored is not None:
        response["etag"] = f'W/"{stored.version}"'
        response["lastModified"] = instant(stored.updated)
    if result.issues:
        response["outcome"] = outcome(*result.issues)
    body = result.body
    if body is None and with_resource and stored is not None and not stored.deleted:
        body = compose(stored)
    text = b'"response":' + dumps(response)
    return b"{" + (b'"resource":' + body + b"," if body is not None else b"") + text + b"}"


def error_entry(entry: BundleEntry, problem: FhirError) -> bytes:
    """The response entry of an entry that was refused in a batch."""
    issues = outcome(*(placed(i, entry.where) for i in problem.issues))
    return b'{"response":' + dumps({"status": str(problem.status), "outcome": issues}) + b"}"


def placed(issue: Issue, where: str) -> Issue:
    """The issue with the entry's place where it names no place in the Bundle of its own."""
    if any(e.startswith("Bundle.") for e in issue.expression):
        return issue
    return replace(issue, expression=(where, *issue.expression))
