"""Another terminology server (setting terminology_server), for code systems and value sets that are unavailable here.

https://hl7.org/fhir/R4/terminology-service.html. Answers are cached for a limited time. After a failure the server is
not called for some seconds; meanwhile its answers are unresolved, with a reason that names the server.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from cachetools import TLRUCache

from fhirstore.formats.json import dumps
from fhirstore.model.messages import Message
from fhirstore.terminology.code_sets import ExpansionEntry, expansion_entries
from fhirstore.terminology.model import Coding, Membership, Resource, Unresolved

if TYPE_CHECKING:
    import httpx

JSON = "application/fhir+json"
CACHED_ANSWERS = 50_000
_UNKNOWN_SYSTEM = ("x-caused-by-unknown-system", "x-unknown-system")


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """timeout_s: of a request. cache_s: lifetime of a cached answer. retry_s: pause after a failure.

    max_codes: of an expansion."""

    timeout_s: float = 5.0
    cache_s: float = 3600.0
    retry_s: float = 30.0
    max_codes: int = 10_000


class _CachedAnswer(NamedTuple):
    """expires: on the clock of `RemoteTerminology`. content: the resource, or the reason why there is no answer."""

    expires: float
    content: dict[str, Any] | Unresolved


class RemoteTerminology:
    """A terminology server. One per process, created before it forks; threads share it. clock: in seconds."""

    def __init__(self, base: str, limits: RemoteLimits, clock: Callable[[], float] = time.monotonic):
        import httpx  # slow to import, and used only if the setting is set

        self._httpx = httpx
        self.base = base.rstrip("/")
        self._limits, self._clock = limits, clock
        self._answers: TLRUCache[tuple[str, bytes], _CachedAnswer] = TLRUCache(
            CACHED_ANSWERS, lambda _, answer, now: answer.expires, clock
        )
        self._lock = threading.Lock()
        self._client: tuple[int, httpx.Client] | None = None
        self._failure: tuple[float, str] | None = None

    # --- questions

    def contains(self, value_set: Mapping[str, Any], system: str | None, code: str) -> bool:
        """Whether a code is in a value set. value_set: the parameter url or valueSet. Raises Unresolved."""
        parameters = [value_set, {"name": "code", "valueCode": code}]
        if system:
            parameters.append({"name": "system", "valueUri": system})
        return self._validate_code("ValueSet", parameters)

    def is_code(self, coding: Coding) -> bool:
        """Whether a code is in its code system. Raises Unresolved."""
        parameters: list[Mapping[str, Any]] = [{"name": "url", "valueUri": coding.system}]
        parameters.append({"name": "code", "valueCode": coding.code})
        parameters += [{"name": "version", "valueString": coding.version}] if coding.version else []
        return self._validate_code("CodeSystem", parameters)

    def expand(self, value_set: Mapping[str, Any]) -> list[ExpansionEntry]:
        """The codes of a value set. value_set: the parameter url or valueSet. Raises Unresolved."""
        count = {"name": "count", "valueInteger": self._limits.max_codes + 1}
        answer = self._post("ValueSet/$expand", [value_set, count, {"name": "excludeNested", "valueBoolean": True}])
        expansion = answer.get("expansion", {})
        entries = list(expansion_entries(expansion.get("contains", ())))
        if len(entries) > self._limits.max_codes or expansion.get("total", 0) > len(entries):
            text = Message(
                "the expansion by the terminology server {base} has more than {max_codes} codes",
                base=self.base,
                max_codes=self._limits.max_codes,
            )
            raise Unresolved(text, "too-costly")
        return entries

    def look_up(self, parameters: list[Mapping[str, Any]]) -> Resource:
        """The Parameters that $lookup returns. Raises Unresolved."""
        return self._post("CodeSystem/$lookup", parameters)

    def _validate_code(self, type: str, parameters: list[Mapping[str, Any]]) -> bool:
        answer = self._post(f"{type}/$validate-code", parameters)
        returned = {p.get("name"): p for p in answer.get("parameter", ())}
        result = returned.get("result", {}).get("valueBoolean")
        message = str(returned.get("message", {}).get("valueString", ""))
        if result is True:
            return True
        if result is not False or any(n in returned for n in _UNKNOWN_SYSTEM) or _names_unknown_system(message):
            reason = message or Message("the answer has no result")
            raise Unresolved(
                Message(
                    "the terminology server {base} cannot validate the code: {reason}", base=self.base, reason=reason
                )
            )
        return False

    # --- requests

    def _post(self, path: str, parameters: list[Mapping[str, Any]]) -> dict[str, Any]:
        """The resource of the response, cached. Raises Unresolved, which is cached too."""
        body = dumps({"resourceType": "Parameters", "parameter": parameters})
        key = (path, body)
        with self._lock:
            answer = self._answers.get(key)
        if answer is None:
            answer = self._request(path, body)
            with self._lock:
                self._answers[key] = answer
        if isinstance(answer.content, Unresolved):
            raise answer.content
        return answer.content

    def _request(self, path: str, body: bytes) -> _CachedAnswer:
        now = self._clock()
        failure = self._failure
        if failure is not None and now < failure[0]:
            return _CachedAnswer(failure[0], Unresolved(failure[1], "transient"))
        try:
            headers = {"Content-Type": JSON, "Accept": JSON}
            response = self._http_client().post(f"{self.base}/{path}", content=body, headers=headers)
            answer = msgspec.json.decode(response.content, type=dict[str, Any])
        except self._httpx.HTTPError as e:
            text = Message(
                "the terminology server {base} does not answer ({type})", base=self.base, type=type(e).__name__
            )
            self._failure = (now + self._limits.retry_s, text)
            return _CachedAnswer(self._failure[0], Unresolved(text, "transient"))
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = Message(
                "the terminology server {base} answered {status_code} without JSON",
                base=self.base,
                status_code=response.status_code,
            )
            return _CachedAnswer(now + self._limits.retry_s, Unresolved(text, "transient"))
        self._failure = None
        if response.is_success:
            return _CachedAnswer(self._clock() + self._limits.cache_s, answer)
        text = Message(
            "the terminology server {base} answered {status_code}: {diagnostics}",
            base=self.base,
            status_code=response.status_code,
            diagnostics=_diagnostics(answer),
        )
        is_permanent = response.status_code < 500
        expires = now + (self._limits.cache_s if is_permanent else self._limits.retry_s)
        return _CachedAnswer(expires, Unresolved(text, "not-found" if is_permanent else "transient"))

    def _http_client(self) -> httpx.Client:
        with self._lock:
            pid = os.getpid()
            if self._client is None or self._client[0] != pid:
                self._client = (pid, self._httpx.Client(timeout=self._limits.timeout_s))
            return self._client[1]

    def close(self) -> None:
        """Closes the connections of this process."""
        with self._lock:
            if self._client is not None and self._client[0] == os.getpid():
                self._client[1].close()
            self._client = None


class RemoteCodes:
    """A `CodeSet` that a terminology server decides.

    value_set: the parameter url or valueSet. system: the code system of all of its codes, None = unknown. reason: why
    this server cannot decide. known: codes that this server knows to be in the set."""

    def __init__(
        self,
        remote: RemoteTerminology,
        value_set: Mapping[str, Any],
        system: str | None,
        reason: Unresolved,
        known: Set[str],
    ):
        self._remote, self._value_set, self._system = remote, value_set, system
        self._reason, self._known = reason, known

    @classmethod
    def of_value_set(cls, remote: RemoteTerminology, canonical: str, reason: Unresolved) -> RemoteCodes:
        """The codes of a value set that is unavailable here."""
        return cls(remote, {"name": "url", "valueUri": canonical}, None, reason, frozenset())

    @classmethod
    def of_include(
        cls, remote: RemoteTerminology, include: Resource, reason: Unresolved, known: Set[str]
    ) -> RemoteCodes:
        """The codes that ValueSet.compose.include selects of a code system that is unavailable or incomplete here."""
        own = {key: value for key, value in include.items() if key != "valueSet"}
        resource = {"resourceType": "ValueSet", "status": "active", "compose": {"include": [own]}}
        return cls(remote, {"name": "valueSet", "resource": resource}, include["system"], reason, known)

    def membership(self, system: str | None, code: str) -> Membership:
        if self._system is not None and system is not None and system != self._system:
            return False
        if code in self._known:
            return True
        try:
            return self._remote.contains(self._value_set, system or self._system, code)
        except Unresolved as e:
            return Message("{text}, and {e_text}", text=self._reason.text, e_text=e.text)

    def entries(self) -> Iterator[ExpansionEntry]:
        try:
            return iter(self._remote.expand(self._value_set))
        except Unresolved as e:
            raise Unresolved(Message("{text}, and {e_text}", text=self._reason.text, e_text=e.text), e.code) from e


def _names_unknown_system(message: str) -> bool:
    """Whether a message says that the code system is unknown; R4 defines no code for this."""
    text = message.lower().replace(" ", "")
    return "codesystem" in text and any(w in text for w in ("unknown", "notfound", "notbefound", "notsupported"))


def _diagnostics(answer: Mapping[str, Any]) -> str:
    issues = answer.get("issue")
    first = issues[0] if isinstance(issues, list) and issues and isinstance(issues[0], dict) else {}
    details = first.get("details")
    text = first.get("diagnostics") or (details.get("text") if isinstance(details, dict) else None)
    return str(text or Message("it gives no reason"))[:300]
