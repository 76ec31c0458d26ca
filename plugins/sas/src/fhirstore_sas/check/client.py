"""The HTTP client of the checks: sends the requests of the platform, records responses and durations."""

from __future__ import annotations

import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType

import httpx

from fhirstore.plugins import client_context
from fhirstore_sas.check.model import Exchange

ACCEPT = "application/json+fhir"
"""Sic: the media type that the guide names (SPEC §2)."""
OLD_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


@dataclass(frozen=True)
class ClientLimits:
    """timeout: seconds without a byte. max_seconds: duration of a response. max_bytes: size of a response,
    decompressed. max_slow_requests: requests that may take longer than `timeout`."""

    timeout: float = 30.0
    max_seconds: float = 60.0
    max_bytes: int = 64 * 1024 * 1024
    max_slow_requests: int = 3


LIMITS = ClientLimits()


class EndpointTooSlow(Exception):
    """The endpoint was too slow too often; no more requests are sent."""


class _ResponseTooLarge(Exception):
    """A response exceeds the limits of size or duration."""


class EndpointClient:
    """Sends requests below the base of an endpoint. transport: replaces sockets in tests."""

    def __init__(
        self,
        base: str,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        limits: ClientLimits = LIMITS,
    ):
        self.base = base.rstrip("/")
        self._clock, self._limits, self._slow = clock, limits, 0
        verify = tls if tls is not None else True
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.Client(verify=verify, transport=transport, timeout=limits.timeout, cookies=no_cookies)

    def without_certificate(self, cacert: str | None) -> EndpointClient:
        """A client of the same endpoint without a client certificate."""
        return EndpointClient(self.base, client_context(None, None, cacert), clock=self._clock, limits=self._limits)

    def __enter__(self) -> EndpointClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **headers: str) -> Exchange:
        """path: below the base, with an encoded query. headers: added to those of the platform (`accept=…`)."""
        return self._send("GET", path, None, {"accept": ACCEPT, "content-type": "application/json", **headers})

    def send(self, method: str, path: str, body: str) -> Exchange:
        """Sends a body. The Accept header depends on the method, as in the official test kit."""
        accept = "application/fhir+json" if method == "PUT" else ACCEPT
        return self._send(method, path, body, {"accept": accept, "content-type": "application/json"})

    def _send(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Exchange:
        if self._slow >= self._limits.max_slow_requests:
            raise EndpointTooSlow
        url = f"{self.base}/{path}" if path else self.base
        started = self._clock()
        try:
            with self._http.stream(method, url, content=body, headers=headers) as response:
                content = self._read(response, started)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as e:
            return self._failure(method, url, body, started, e, is_reachable=False)
        except (httpx.HTTPError, _ResponseTooLarge) as e:
            return self._failure(method, url, body, started, e, is_reachable=True)
        seconds = self._elapsed(started)
        text, is_utf8 = _decoded(content)
        return Exchange(
            method, url, body or "", response.status_code, dict(response.headers), text, seconds, is_utf8=is_utf8
        )

    def _read(self, response: httpx.Response, started: float) -> bytes:
        """The body, decompressed. Raises _ResponseTooLarge."""
        found = bytearray()
        for piece in response.iter_bytes():
            found += piece
            if len(found) > self._limits.max_bytes:
                raise _ResponseTooLarge(f"the response is larger than {self._limits.max_bytes} bytes")
            if self._clock() - started > self._limits.max_seconds:
                raise _ResponseTooLarge(f"the response takes longer than {self._limits.max_seconds:g} s")
        return bytes(found)

    def _failure(
        self, method: str, url: str, body: str | None, started: float, e: Exception, *, is_reachable: bool
    ) -> Exchange:
        why = str(e) or type(e).__name__
        return Exchange(method, url, body or "", seconds=self._elapsed(started), problem=why, is_reachable=is_reachable)

    def _elapsed(self, started: float) -> float:
        seconds = self._clock() - started
        self._slow += seconds >= self._limits.timeout
        return seconds


def _decoded(content: bytes) -> tuple[str, bool]:
    """The text, and whether it is UTF-8, which FHIR requires whatever the header states (SPEC §2)."""
    try:
        return content.decode(), True
    except UnicodeDecodeError:
        return content.decode(errors="replace"), False


def accepted_old_tls_versions(url: str) -> list[str]:
    """The versions of TLS below 1.2 that the server accepts (test 1.2.01 of the kit). Versions that the local TLS
    library does not support are not tried."""
    found = []
    for version in OLD_VERSIONS:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
            context.set_ciphers("ALL:@SECLEVEL=0")
        except (ValueError, ssl.SSLError):
            continue
        if _can_connect(url, context):
            found.append(version.name)
    return found


def _can_connect(url: str, context: ssl.SSLContext) -> bool:
    try:
        with httpx.Client(verify=context, timeout=LIMITS.timeout) as client, client.stream("GET", url):
            pass
    except httpx.HTTPError:
        return False
    return True
