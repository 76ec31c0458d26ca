"""One attempt: POST for an appointment that the platform cannot know, conditional PUT for all others (SPEC §6).

A message that may have reached the platform without a response is sent again as PUT, which creates an unknown
appointment (SPEC §16, no. 18). So no appointment is created twice.

If the platform returns ETags, each PUT names the version that it replaces (If-Match), so that the platform refuses a
request that it processes late, after a newer one: https://hl7.org/fhir/R4/http.html#concurrency. The guide does not
require ETags. Without them, or if the platform refuses If-Match, the PUT is sent as the guide describes.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from fhirstore.plugins import client_context
from fhirstore_sas.configuration import TLS_OPTIONS, SasConfiguration
from fhirstore_sas.relay.outbox import identifier_of

FINAL = frozenset((400, 406, 411, 413, 414, 415, 422, 501))
"""The platform refuses the message itself, so another attempt is pointless. All other failures may pass: 401, 403, 404
and 405 when certificates, rights or addresses are corrected, 408, 409, 412, 425, 429 and 5xx by themselves."""
_MOST = 64 * 1024  # bytes of a response that are read
_HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
_NOT_MATCHED = frozenset((400, 409, 412, 501))
"""Statuses that If-Match may have caused."""
_ETAG = re.compile(r'(W/)?"[!#-~]{1,100}"')
_SPECIAL = re.compile(r"[\\,$|]")
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """url: base URL of the platform, without a trailing slash. timeout_s: of each step of a request (to connect, to
    send, to wait for the response). pause_s: the longest pause between two attempts. park_after_s: seconds after which
    a message that cannot be sent is parked. in_serve: `fhirstore serve` runs the relay."""

    url: str
    cert: str | None = None
    key: str | None = None
    ca: str | None = None
    timeout_s: float = 10.0
    pause_s: float = 300.0
    park_after_s: float = 86400.0
    in_serve: bool = True

    @property
    def lease_s(self) -> float:
        """Longer than any attempt: connection, TLS handshake, request, response."""
        return 4 * self.timeout_s + 2

    def tls(self) -> ssl.SSLContext:
        """Presents the client certificate and verifies the certificate of the platform."""
        return client_context(self.cert, self.key, self.ca, TLS_OPTIONS)


def relay_settings(configuration: SasConfiguration) -> RelaySettings | None:
    """The settings of the relay; None if no relay is configured."""
    if configuration.relay_url is None:
        return None
    cert, key, ca = (
        None if path is None else str(path)
        for path in (configuration.relay_cert, configuration.relay_key, configuration.relay_ca)
    )
    return RelaySettings(
        configuration.relay_url.rstrip("/"),
        cert,
        key,
        ca,
        configuration.relay_timeout,
        configuration.relay_pause,
        configuration.relay_park_after,
        configuration.relay_in == "serve",
    )


@dataclass(frozen=True, slots=True)
class PlatformResponse:
    """status: HTTP status, None if there was no response. error: one line, "" for a success. wait_s: seconds of
    Retry-After. etag: of the stored version, "" if unknown."""

    status: int | None
    error: str = ""
    location: str = ""
    wait_s: float = 0.0
    etag: str = ""

    @property
    def is_done(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class Platform:
    """The FHIR server of the platform. Thread-safe."""

    def __init__(self, settings: RelaySettings, clock: Callable[[], float] = time.time):
        self._base, self._timeout_s, self._clock = settings.url, settings.timeout_s, clock
        tls = settings.tls() if settings.url.startswith("https:") else True
        self._http = httpx.Client(verify=tls, timeout=settings.timeout_s, follow_redirects=False, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def send(self, message: dict[str, Any], *, is_first: bool, etag: str = "") -> PlatformResponse:
        """is_first: no message about this appointment can have reached the platform. etag: of its last response."""
        criteria, body = criteria_of(message), _encode(message)
        if is_first:
            response = self._ask("POST", "Appointment", body, {"If-None-Exist": criteria})
            if response.status != 200:
                return response
            # The appointment exists already, in an unknown state.
        if etag:
            response = self._ask("PUT", f"Appointment?{criteria}", body, {"If-Match": etag})
            if response.status not in _NOT_MATCHED:
                return response
            # A message without a response has arrived, or the platform has changed the appointment. Ours is the latest.
        return self._ask("PUT", f"Appointment?{criteria}", body, {})

    def _ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> PlatformResponse:
        try:
            with self._http.stream(
                method, f"{self._base}/{path}", content=body, headers=_HEADERS | headers
            ) as response:
                return self._read(response)
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as problem:  # RuntimeError: the client was closed
            # A slow platform may still process the request, and the next one must not overtake it.
            wait = self._timeout_s if isinstance(problem, httpx.TimeoutException) else 0.0
            return PlatformResponse(None, f"{type(problem).__name__}: {str(problem) or 'no response'}", wait_s=wait)

    def _read(self, response: httpx.Response) -> PlatformResponse:
        status, location = response.status_code, response.headers.get("location", "")[:2000]
        if 200 <= status < 300:
            # The status decides, even if the rest of the response is cut off.
            etag = response.headers.get("etag", "")
            return PlatformResponse(status, "", location, etag=etag if _ETAG.fullmatch(etag) else "")
        text = b""
        try:
            for part in response.iter_bytes():
                text += part
                if len(text) > _MOST:
                    break
        except httpx.HTTPError:
            pass
        what = _diagnostics(text) or response.reason_phrase or "no reason given"
        return PlatformResponse(
            status, f"{status}: {what}", location, self._wait(response.headers.get("retry-after", ""))
        )

    def _wait(self, header: str) -> float:
        """The seconds of a Retry-After header, at most an hour; 0 if it is not valid."""
        try:
            wait = int(header) if header.isdecimal() else parsedate_to_datetime(header).timestamp() - self._clock()
        except (ValueError, OverflowError):
            return 0.0
        return min(max(wait, 0.0), 3600.0)


def criteria_of(message: dict[str, Any]) -> str:
    """The search that finds the appointment of a message, encoded for a URL."""
    system, value = identifier_of(message) or ("", "")
    return f"identifier={quote(f'{_escaped(system)}|{_escaped(value)}', safe='')}"


def _escaped(text: str) -> str:
    """https://hl7.org/fhir/R4/search.html#escaping"""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _diagnostics(text: bytes) -> str:
    """The diagnostics of an OperationOutcome, or the beginning of any other body."""
    try:
        outcome = msgspec.json.decode(text)
        issues = outcome["issue"]
        texts = [i.get("diagnostics") or (i.get("details") or {}).get("text") or i.get("code") or "" for i in issues]
        return _printable("; ".join(str(s) for s in texts if s))
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, AttributeError):
        return _printable(text[:300].decode("utf-8", "replace"))


def _printable(text: str) -> str:
    """The text without control characters, on one line."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
