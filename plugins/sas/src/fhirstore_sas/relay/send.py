"""One attempt: POST for an appointment that the platform cannot know, conditional PUT for everything else (SPEC §6).

Whatever may have reached the platform unanswered is sent again as PUT, which creates what is unknown there (SPEC §16,
no. 18): so nothing is doubled.

A platform that gives ETags is told which version the message replaces (If-Match): what it takes in late, behind what
was sent after it, it refuses then. https://hl7.org/fhir/R4/http.html#concurrency. The guide promises no ETags; without
them, or where If-Match is refused, the PUT goes as the guide says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from fhirstore_sas.relay.message import identifier_of
from fhirstore_sas.relay.settings import RelaySettings

HOPELESS = frozenset((400, 406, 411, 413, 414, 415, 422, 501))
"""The platform refuses what is said, and will do so tomorrow. All other failures may pass: 401, 403, 404 and 405 when
certificates, rights or addresses are mended, 408, 409, 412, 425, 429 and 5xx by themselves."""
_MOST = 64 * 1024  # bytes of an answer that are read
_HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
_NOT_MATCHED = frozenset((400, 409, 412, 501))
"""Answers that the precondition may be the reason of."""
_ETAG = re.compile(r'(W/)?"[!#-~]{1,100}"')
_SPECIAL = re.compile(r"[\\,$|]")
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Answer:
    """status: None = there was none. error: what went wrong, "" = nothing. wait_s: what Retry-After asks for. etag: of
    the version that was stored, "" = not told."""

    status: int | None
    error: str = ""
    location: str = ""
    wait_s: float = 0.0
    etag: str = ""

    @property
    def is_done(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_hopeless(self) -> bool:
        return self.status in HOPELESS


class Platform:
    """The platform's server. Threads may share it."""

    def __init__(self, settings: RelaySettings, clock: Callable[[], float] = time.time):
        self._base, self._timeout_s, self._clock = settings.url, settings.timeout_s, clock
        tls = settings.tls() if settings.url.startswith("https:") else True
        self._http = httpx.Client(verify=tls, timeout=settings.timeout_s, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def send(self, message: dict[str, Any], *, is_first: bool, etag: str = "") -> Answer:
        """is_first: nothing of this appointment can have reached the platform. etag: of its last confirmation."""
        criteria, body = criteria_of(message), _encode(message)
        if is_first:
            answer = self._ask("POST", "Appointment", body, {"If-None-Exist": criteria})
            if answer.status != 200:
                return answer
            # It is there already, in a state that we do not know.
        if etag:
            answer = self._ask("PUT", f"Appointment?{criteria}", body, {"If-Match": etag})
            if answer.status not in _NOT_MATCHED:
                return answer
            # What was sent without an answer has arrived, or the platform has changed it: ours is the latest state.
        return self._ask("PUT", f"Appointment?{criteria}", body, {})

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            with self._http.stream(method, f"{self._base}/{path}", content=body, headers=_HEADERS | headers) as answer:
                return self._read(answer)
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as problem:  # RuntimeError: the client was closed
            # A platform that was only slow may be at it still: what comes next must not overtake this.
            wait = self._timeout_s if isinstance(problem, httpx.TimeoutException) else 0.0
            return Answer(None, f"{type(problem).__name__}: {str(problem) or 'no answer'}", wait_s=wait)

    def _read(self, answer: httpx.Response) -> Answer:
        status, location = answer.status_code, answer.headers.get("location", "")[:2000]
        if 200 <= status < 300:
            # Received is received, whatever becomes of the rest of the answer.
            etag = answer.headers.get("etag", "")
            return Answer(status, "", location, etag=etag if _ETAG.fullmatch(etag) else "")
        text = b""
        try:
            for part in answer.iter_bytes():
                text += part
                if len(text) > _MOST:
                    break
        except httpx.HTTPError:
            pass
        what = _said(text) or answer.reason_phrase or "no reason given"
        return Answer(status, f"{status}: {what}", location, self._wait(answer.headers.get("retry-after", "")))

    def _wait(self, header: str) -> float:
        """Seconds, from seconds or from a date; 0 for anything else. At most an hour."""
        try:
            wait = int(header) if header.isdecimal() else parsedate_to_datetime(header).timestamp() - self._clock()
        except (ValueError, TypeError):
            return 0.0
        return min(max(wait, 0.0), 3600.0)


def criteria_of(message: dict[str, Any]) -> str:
    """The search that finds the appointment of a message, as it stands in a URL."""
    system, value = identifier_of(message) or ("", "")
    return f"identifier={quote(f'{_escaped(system)}|{_escaped(value)}', safe='')}"


def _escaped(text: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _said(text: bytes) -> str:
    """What an OperationOutcome says; for anything else its beginning."""
    try:
        outcome = msgspec.json.decode(text)
        issues = outcome["issue"]
        said = [i.get("diagnostics") or (i.get("details") or {}).get("text") or i.get("code") or "" for i in issues]
        return _printable("; ".join(str(s) for s in said if s))
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError):
        return _printable(text[:300].decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """What a terminal and a log can show, on one line."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
