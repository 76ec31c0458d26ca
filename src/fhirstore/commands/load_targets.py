"""Where loaded resources go: into the store through the same rules as over HTTP, or to a server."""

from __future__ import annotations

import http.client
import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from fhirstore.commands.load_files import Item
from fhirstore.errors import FhirError, Issue, StartupError
from fhirstore.formats.json import dumps, parse
from fhirstore.interactions.bulk import put_many
from fhirstore.interactions.bundle import Bundle
from fhirstore.interactions.context import Server
from fhirstore.interactions.rest import RawBody
from fhirstore.model.context import RequestContext

BATCH = 100
TRIES = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of an item. count: resources stored. issues: why something of it was refused; () = nothing was."""

    item: Item
    count: int
    issues: tuple[Issue, ...] = ()


class Target(Protocol):
    def put(self, items: Iterable[Item]) -> Iterator[Loaded]:
        """Stores the items; one result for each, in order, once it is durable."""
        ...

    def close(self) -> None: ...


class IntoStore:
    """Straight into the store of this machine, while a server may be running on it."""

    def __init__(self, server: Server):
        self.server = server

    def close(self) -> None:
        self.server.store.close()

    def put(self, items: Iterable[Item]) -> Iterator[Loaded]:
        for kind, group in itertools.groupby(items, _kind):
            if kind == "refused":
                yield from (Loaded(i, 0, i.problem) for i in group)
            elif kind == "requests":
                yield from map(self._process, group)
            else:
                yield from self._resources(group)

    def _resources(self, group: Iterable[Item]) -> Iterator[Loaded]:
        taken: deque[Item] = deque()

        def resources() -> Iterator[dict[str, Any]]:
            for item in group:
                taken.append(item)
                yield item.resource or {}

        for _, issues in put_many(self.server, resources()):
            refused = any(i.is_error for i in issues or ())
            yield Loaded(taken.popleft(), 0 if refused else 1, tuple(issues or ()) if refused else ())

    def _process(self, item: Item) -> Loaded:
        raw, nesting = item.raw or b"", self.server.settings.max_nesting
        request = RequestContext(self.server.settings.base_url or "")
        try:
            result = Bundle(body=RawBody(raw, nesting)).execute(self.server, request)
        except FhirError as e:
            return Loaded(item, 0, e.issues)
        return _read_answer(item, parse(result.body or b"", nesting))


class ToServer:
    """To a FHIR server: resources as transactions of PUTs, and, where one of those is refused, as a batch of the
    same, which tells the good from the bad. Batches and transactions are posted as they are."""

    def __init__(self, base: str, headers: Sequence[str] = ()):
        url = urlsplit(base)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise StartupError(
                f"--to {base}: the base URL of a FHIR server is wanted, such as http://localhost:8080/fhir"
            )
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.hostname, url.port, timeout=120)
        self._path, self._base = url.path.rstrip("/") or "/", base
        self._headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
        for header in headers:
            name, colon, value = header.partition(":")
            if not colon:
                raise StartupError(f"--header {header!r}: 'Name: value' is wanted.")
            self._headers[name.strip()] = value.strip()

    def close(self) -> None:
        self._connection.close()

    def put(self, items: Iterable[Item]) -> Iterator[Loaded]:
        for kind, group in itertools.groupby(items, _kind):
            if kind == "refused":
                yield from (Loaded(i, 0, i.problem) for i in group)
            elif kind == "requests":
                yield from (self._post_as_is(i) for i in group)
            else:
                while chunk := list(itertools.islice(group, BATCH)):
                    yield from self._post_resources(chunk)

    def _post_as_is(self, item: Item) -> Loaded:
        status, answer = self._post(item.raw or b"")
        return _read_answer(item, answer) if status == 200 else Loaded(item, 0, _issues(status, answer))

    def _post_resources(self, chunk: list[Item]) -> list[Loaded]:
        status, answer = self._post(_requests("transaction", chunk))
        if status == 200:
            return [Loaded(i, 1) for i in chunk]
        status, answer = self._post(_requests("batch", chunk))
        entries = answer.get("entry") or []
        if status != 200 or len(entries) != len(chunk):
            return [Loaded(i, 0, _issues(status, answer)) for i in chunk]
        return [_read_answer(i, {"entry": [e]}) for i, e in zip(chunk, entries, strict=True)]

    def _post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body; waits and tries again while the server is too busy. Raises StartupError without server."""
        for n in range(TRIES):
            try:
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
                raw = response.read()
            except (OSError, http.client.HTTPException) as e:
                self._connection.close()
                if n + 1 < TRIES and isinstance(e, http.client.RemoteDisconnected | BrokenPipeError):
                    continue  # an idle connection was closed by the server
                raise StartupError(f"{self._base}: the server cannot be reached: {e or type(e).__name__}.") from None
            if response.status in (429, 503) and n + 1 < TRIES:
                after = response.headers.get("Retry-After", "")
                time.sleep(min(int(after), 60) if after.isdigit() else 2**n)
                continue
            break
        try:
            return response.status, parse(raw, 1000)
        except FhirError:
            return response.status, {}


def _kind(item: Item) -> str:
    return "refused" if item.resource is None else "requests" if item.raw is not None else "resources"


def _requests(kind: str, items: Iterable[Item]) -> bytes:
    entries = []
    for item in items:
        resource = item.resource or {}
        url = f"{resource.get('resourceType')}/{resource.get('id')}"
        entries.append({"resource": resource, "request": {"method": "PUT", "url": url}})
    return dumps({"resourceType": "Bundle", "type": kind, "entry": entries})


def _read_answer(item: Item, answer: dict[str, Any]) -> Loaded:
    """What a batch-response or transaction-response says of its entries."""
    count = 0
    issues: list[Issue] = []
    for entry in answer.get("entry") or ():
        response = entry.get("response") or {}
        status = str(response.get("status", ""))
        if status.startswith("2"):
            count += 1
        else:
            issues.extend(_issues(status, response.get("outcome") or {}))
    return Loaded(item, count, tuple(issues))


def _issues(status: object, outcome: dict[str, Any]) -> tuple[Issue, ...]:
    if outcome.get("resourceType") != "OperationOutcome":
        return (Issue("error", "processing", f"The server answered {status}."),)
    return tuple(
        Issue(
            str(i.get("severity", "error")),
            str(i.get("code", "processing")),
            str(i.get("diagnostics") or (i.get("details") or {}).get("text") or f"The server answered {status}."),
            tuple(i.get("expression") or ()),
        )
        for i in outcome.get("issue") or ()
    )
