"""Targets of loading: the local store, with the same rules as over HTTP, or another FHIR server."""

from __future__ import annotations

import http.client
import itertools
import ssl
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from fhirstore.commands.load_files import LoadItem
from fhirstore.commands.options import NO_TLS_OPTIONS, ClientTls
from fhirstore.errors import FhirError, Issue, StartupError
from fhirstore.formats.json import dumps, parse
from fhirstore.interactions.body import RawBody
from fhirstore.interactions.bulk import put_many
from fhirstore.interactions.bundle import Bundle
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message

BATCH_SIZE = 100
MAX_ATTEMPTS = 5
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result for one item. count: resources stored. issues: reasons of rejection; empty if all was stored."""

    item: LoadItem
    count: int
    issues: tuple[Issue, ...] = ()


class LoadTarget(Protocol):
    def put(self, items: Iterable[LoadItem]) -> Iterator[LoadResult]:
        """Stores the items. Yields one result per item, in order, once it is durable."""
        ...

    def close(self) -> None: ...


class StoreTarget:
    """Loads into the local store. A server may use the store at the same time."""

    def __init__(self, server: Server):
        self.server = server

    def close(self) -> None:
        self.server.store.close()

    def put(self, items: Iterable[LoadItem]) -> Iterator[LoadResult]:
        for kind, group in itertools.groupby(items, _kind):
            if kind == "invalid":
                yield from (LoadResult(i, 0, i.problem) for i in group)
            elif kind == "requests":
                yield from map(self._process, group)
            else:
                yield from self._resources(group)

    def _resources(self, group: Iterable[LoadItem]) -> Iterator[LoadResult]:
        pending: deque[LoadItem] = deque()

        def resources() -> Iterator[dict[str, Any]]:
            for item in group:
                pending.append(item)
                yield item.resource or {}

        for _, issues in put_many(self.server, resources()):
            rejected = any(i.is_error for i in issues or ())
            yield LoadResult(pending.popleft(), 0 if rejected else 1, tuple(issues or ()) if rejected else ())

    def _process(self, item: LoadItem) -> LoadResult:
        raw, nesting = item.raw or b"", self.server.settings.max_nesting
        request = RequestContext(self.server.settings.base_url or "")
        try:
            result = Bundle(body=RawBody(raw, nesting)).execute(self.server, request)
        except FhirError as e:
            return LoadResult(item, 0, e.issues)
        return _result(item, parse(result.body or b"", nesting))


class ServerTarget:
    """Loads into a FHIR server.

    Resources go out as transactions of PUT requests. A rejected transaction is sent again as a batch, which separates
    valid from invalid resources. Batches and transactions are posted unchanged.
    """

    def __init__(self, base: str, headers: Sequence[str] = (), tls: ClientTls = NO_TLS_OPTIONS):
        url = urlsplit(base)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise StartupError(
                f"--to {base}: expected the base URL of a FHIR server, such as http://localhost:8080/fhir."
            )
        context = tls.context_for(base)
        self._connection = (
            http.client.HTTPConnection(url.hostname, url.port, timeout=TIMEOUT_S)
            if context is None
            else http.client.HTTPSConnection(url.hostname, url.port, timeout=TIMEOUT_S, context=context)
        )
        self._path, self._base = url.path.rstrip("/") or "/", base
        self._headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        for header in headers:
            name, colon, value = header.partition(":")
            if not colon:
                raise StartupError(f"--header {header!r}: expected 'Name: value'.")
            self._headers[name.strip()] = value.strip()

    def close(self) -> None:
        self._connection.close()

    def put(self, items: Iterable[LoadItem]) -> Iterator[LoadResult]:
        for kind, group in itertools.groupby(items, _kind):
            if kind == "invalid":
                yield from (LoadResult(i, 0, i.problem) for i in group)
            elif kind == "requests":
                yield from (self._post_unchanged(i) for i in group)
            else:
                while chunk := list(itertools.islice(group, BATCH_SIZE)):
                    yield from self._post_resources(chunk)

    def _post_unchanged(self, item: LoadItem) -> LoadResult:
        status, response = self._post(item.raw or b"")
        return _result(item, response) if status == 200 else LoadResult(item, 0, _issues(status, response))

    def _post_resources(self, chunk: list[LoadItem]) -> list[LoadResult]:
        status, response = self._post(_requests("transaction", chunk))
        if status == 200:
            return [LoadResult(i, 1) for i in chunk]
        status, response = self._post(_requests("batch", chunk))
        entries = response.get("entry") or []
        if status != 200 or len(entries) != len(chunk):
            return [LoadResult(i, 0, _issues(status, response)) for i in chunk]
        return [_result(i, {"entry": [e]}) for i, e in zip(chunk, entries, strict=True)]

    def _post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Returns status and body. Retries while the server is overloaded. Raises StartupError if it is unreachable or
        does not admit the client."""
        for n in range(MAX_ATTEMPTS):
            try:
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
                raw = response.read()
            except (OSError, http.client.HTTPException) as e:
                self._connection.close()
                if n + 1 < MAX_ATTEMPTS and isinstance(e, http.client.RemoteDisconnected | BrokenPipeError):
                    continue  # the server closed the idle connection
                raise StartupError(f"{self._base}: {_reason(e)}") from None
            if response.status in (429, 503) and n + 1 < MAX_ATTEMPTS:
                after = response.headers.get("Retry-After", "")
                time.sleep(min(int(after), 60) if after.isdigit() else 2**n)
                continue
            break
        try:
            answer = parse(raw, 1000)
        except FhirError:
            answer = {}
        if response.status in (401, 403):
            issues = _issues(response.status, answer)
            reason = " ".join(str(issue.diagnostics) for issue in issues)
            raise StartupError(
                f"{self._base}: the server answered {response.status}: {reason} Set --cert and --key to a certificate "
                "that it accepts, or --header."
            )
        return response.status, answer


def _reason(e: Exception) -> str:
    """Why a request failed, with the option that may correct it."""
    if isinstance(e, ssl.SSLCertVerificationError):
        return f"the certificate of the server is not accepted: {e.verify_message}. Set --cacert to its authorities."
    if isinstance(e, ssl.SSLError) and "ALERT" in (e.reason or ""):
        return f"the server refuses the TLS connection: {e.reason}. Set --cert and --key to a certificate it accepts."
    return f"cannot connect to the server: {e or type(e).__name__}."


def _kind(item: LoadItem) -> str:
    return "invalid" if item.resource is None else "requests" if item.raw is not None else "resources"


def _requests(kind: str, items: Iterable[LoadItem]) -> bytes:
    entries = []
    for item in items:
        resource = item.resource or {}
        url = f"{resource.get('resourceType')}/{resource.get('id')}"
        entries.append({"resource": resource, "request": {"method": "PUT", "url": url}})
    return dumps({"resourceType": "Bundle", "type": kind, "entry": entries})


def _result(item: LoadItem, bundle: dict[str, Any]) -> LoadResult:
    """Sums up the entries of a batch-response or transaction-response."""
    count = 0
    issues: list[Issue] = []
    for entry in bundle.get("entry") or ():
        response = entry.get("response") or {}
        status = str(response.get("status", ""))
        if status.startswith("2"):
            count += 1
        else:
            issues.extend(_issues(status, response.get("outcome") or {}))
    return LoadResult(item, count, tuple(issues))


def _issues(status: object, outcome: dict[str, Any]) -> tuple[Issue, ...]:
    if outcome.get("resourceType") != "OperationOutcome":
        return (Issue("error", "processing", Message("The server responded with status {status}.", status=status)),)
    return tuple(
        Issue(
            str(i.get("severity", "error")),
            str(i.get("code", "processing")),
            str(
                i.get("diagnostics")
                or (i.get("details") or {}).get("text")
                or f"The server responded with status {status}."
            ),
            tuple(i.get("expression") or ()),
        )
        for i in outcome.get("issue") or ()
    )
