"""Another terminology server, asked for what is not at hand (setting terminology_server).

https://hl7.org/fhir/R4/terminology-service.html. Its answers are kept for a while. A server that does not answer is
left alone for a while, and what it was asked remains unsure: the reason names it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fhirstore.formats.json import dumps
from fhirstore.terminology.members import Entry, flat
from fhirstore.terminology.model import (
    Coded,
    Resource,
    Unresolved,
    Verdict,
)
from fhirstore.terminology.recent import Recent

if TYPE_CHECKING:
    import httpx

JSON = "application/fhir+json"
KEPT = 50_000
_UNKNOWN = ("x-caused-by-unknown-system", "x-unknown-system")


@dataclass(frozen=True, slots=True)
class Limits:
    """timeout_s: of one request. cache_s: how long an answer is kept. retry_s: how long a server that failed is left
    alone. most: codes that an expansion may have."""

    timeout_s: float = 5.0
    cache_s: float = 3600.0
    retry_s: float = 30.0
    most: int = 10_000


class Remote:
    """A terminology server. One per process, before a fork too; threads share it."""

    def __init__(self, base: str, limits: Limits, clock: Callable[[], float] = time.monotonic):
        import httpx  # needed only where another server is set

        self._httpx = httpx
        self.base = base.rstrip("/")
        self._limits, self._clock = limits, clock
        self._answers: Recent[tuple[float, Any]] = Recent(KEPT)
        self._lock = threading.Lock()
        self._client: tuple[int, httpx.Client] | None = None
        self._failure: tuple[float, str] | None = None

    # --- what is asked

    def contains(self, where: Mapping[str, Any], system: str | None, code: str) -> bool:
        """Whether a code is in the value set that the parameter `where` gives. Raises Unresolved."""
        given = [where, {"name": "code", "valueCode": code}]
        return self._validated("ValueSet", [*given, {"name": "system", "valueUri": system}] if system else given)

    def is_code(self, asked: Coded) -> bool:
        """Whether a code is one of its code system. Raises Unresolved."""
        given: list[Mapping[str, Any]] = [{"name": "url", "valueUri": asked.system}]
        given.append({"name": "code", "valueCode": asked.code})
        given += [{"name": "version", "valueString": asked.version}] if asked.version else []
        return self._validated("CodeSystem", given)

    def expand(self, where: Mapping[str, Any]) -> list[Entry]:
        """The codes of the value set that the parameter `where` gives. Raises Unresolved."""
        most = {"name": "count", "valueInteger": self._limits.most + 1}
        answer = self._ask("ValueSet/$expand", [where, most, {"name": "excludeNested", "valueBoolean": True}])
        expansion = answer.get("expansion", {})
        entries = list(flat(expansion.get("contains", ())))
        if len(entries) > self._limits.most or expansion.get("total", 0) > len(entries):
            text = f"the terminology server {self.base} knows more than {self._limits.most} of its codes"
            raise Unresolved(text, "too-costly")
        return entries

    def look_up(self, parameters: list[Mapping[str, Any]]) -> Resource:
        """The Parameters that $lookup answers. Raises Unresolved."""
        return self._ask("CodeSystem/$lookup", parameters)

    def _validated(self, type: str, parameters: list[Mapping[str, Any]]) -> bool:
        answer = self._ask(f"{type}/$validate-code", parameters)
        given = {p.get("name"): p for p in answer.get("parameter", ())}
        result = given.get("result", {}).get("valueBoolean")
        message = str(given.get("message", {}).get("valueString", ""))
        if result is True:
            return True
        if result is not False or any(name in given for name in _UNKNOWN) or _cannot_tell(message):
            raise Unresolved(f"the terminology server {self.base} cannot tell: {message or 'it gave no result'}")
        return False

    # --- asking

    def _ask(self, path: str, parameters: list[Mapping[str, Any]]) -> dict[str, Any]:
        """The resource that it answers. Raises Unresolved, also for an answer that is kept."""
        body = dumps({"resourceType": "Parameters", "parameter": parameters})
        key: Hashable = (path, body)
        kept = self._answers.peek(key)
        if kept is None or kept[0] < self._clock():
            kept = self._fresh(path, body)
            self._answers.put(key, kept)
        if isinstance(kept[1], Unresolved):
            raise kept[1]
        found: dict[str, Any] = kept[1]
        return found

    def _fresh(self, path: str, body: bytes) -> tuple[float, Any]:
        """(until when it is kept, the answer or why there is none)."""
        now = self._clock()
        failure = self._failure
        if failure is not None and now < failure[0]:
            return failure[0], Unresolved(failure[1], "transient")
        try:
            headers = {"Content-Type": JSON, "Accept": JSON}
            response = self._connected().post(f"{self.base}/{path}", content=body, headers=headers)
            answer = msgspec.json.decode(response.content, type=dict[str, Any])
        except self._httpx.HTTPError as e:
            text = f"the terminology server {self.base} does not answer ({type(e).__name__})"
            self._failure = (now + self._limits.retry_s, text)
            return self._failure[0], Unresolved(text, "transient")
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = f"the terminology server {self.base} answered {response.status_code} without JSON"
            return now + self._limits.retry_s, Unresolved(text, "transient")
        self._failure = None
        if response.is_success:
            return self._clock() + self._limits.cache_s, answer
        text = f"the terminology server {self.base} answered {response.status_code}: {_diagnostics(answer)}"
        lasting = response.status_code < 500
        until = now + (self._limits.cache_s if lasting else self._limits.retry_s)
        return until, Unresolved(text, "not-found" if lasting else "transient")

    def _connected(self) -> httpx.Client:
        with self._lock:
            pid = os.getpid()
            if self._client is None or self._client[0] != pid:
                self._client = (pid, self._httpx.Client(timeout=self._limits.timeout_s))
            return self._client[1]

    def close(self) -> None:
        """Ends the connections of this process."""
        with self._lock:
            if self._client is not None and self._client[0] == os.getpid():
                self._client[1].close()
            self._client = None


class Elsewhere:
    """A part of a value set that another server is asked for. where: the parameter url or valueSet. system: whose codes
    they are, None = that is unknown. known: codes that are in it anyhow."""

    def __init__(
        self, remote: Remote, where: Mapping[str, Any], system: str | None, reason: Unresolved, known: Set[str]
    ):
        self._remote, self._where, self._system = remote, where, system
        self._reason, self._known = reason, known

    def test(self, system: str | None, code: str) -> Verdict:
        if self._system is not None and system is not None and system != self._system:
            return False
        if code in self._known:
            return True
        try:
            return self._remote.contains(self._where, system or self._system, code)
        except Unresolved as e:
            return f"{self._reason.text}, and {e.text}"

    def entries(self) -> Iterator[Entry]:
        try:
            return iter(self._remote.expand(self._where))
        except Unresolved as e:
            raise Unresolved(f"{self._reason.text}, and {e.text}", e.code) from e


def _cannot_tell(message: str) -> bool:
    """Whether a refusal means that the server does not know the code system: there is no code for that in R4."""
    text = message.lower().replace(" ", "")
    return "codesystem" in text and any(w in text for w in ("unknown", "notfound", "notbefound", "notsupported"))


def _diagnostics(answer: Mapping[str, Any]) -> str:
    issues = answer.get("issue")
    first = issues[0] if isinstance(issues, list) and issues and isinstance(issues[0], dict) else {}
    details = first.get("details")
    text = first.get("diagnostics") or (details.get("text") if isinstance(details, dict) else None)
    return str(text or "it does not say why")[:300]
