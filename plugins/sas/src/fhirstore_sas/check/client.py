"""The HTTP client of the checks: what the platform sends, what came back, and how long it took."""

from __future__ import annotations

import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType

import httpx

from fhirstore.plugins import StartupError
from fhirstore_sas.check.model import Exchange

ACCEPT = "application/json+fhir"
"""Sic: the guide's name for it (SPEC §2)."""
OLD_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


@dataclass(frozen=True)
class Limits:
    """What one endpoint may cost. silence: seconds without a byte. whole: seconds of an answer. largest: bytes of an
    answer, unpacked. patience: requests that may take longer than `silence`."""

    silence: float = 30.0
    whole: float = 60.0
    largest: int = 64 * 1024 * 1024
    patience: int = 3


LIMITS = Limits()


class GaveUp(Exception):
    """The endpoint was too slow too often; nothing more is asked of it."""


class _TooMuch(Exception):
    """An answer without end."""


def tls_context(cert: str | None, key: str | None, cacert: str | None) -> ssl.SSLContext:
    """Verifies servers with `cacert` or the system's authorities, presents `cert` (PEM files). Raises StartupError."""
    try:
        context = ssl.create_default_context(cafile=cacert)
        if cert:
            context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as e:
        raise StartupError(f"--cert, --key or --cacert: the file cannot be used: {e}.") from e
    return context


class Client:
    """Requests below the base of an endpoint. transport: in tests, instead of sockets."""

    def __init__(
        self,
        base: str,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = LIMITS,
    ):
        self.base = base.rstrip("/")
        self._clock, self._limits, self._slow = clock, limits, 0
        verify = tls if tls is not None else True
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
        self._http = httpx.Client(verify=verify, transport=transport, timeout=limits.silence, cookies=no_cookies)

    def without_certificate(self, cacert: str | None) -> Client:
        """A client of the same endpoint that presents no certificate."""
        return Client(self.base, tls_context(None, None, cacert), clock=self._clock, limits=self._limits)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **headers: str) -> Exchange:
        """path: below the base, with an encoded query. headers: beside those of the platform (`accept=…`)."""
        return self._send("GET", path, None, {"accept": ACCEPT, "content-type": "application/json", **headers})

    def send(self, method: str, path: str, body: str) -> Exchange:
        """The Accept header follows the official test kit, which has one for each method."""
        accept = "application/fhir+json" if method == "PUT" else ACCEPT
        return self._send(method, path, body, {"accept": accept, "content-type": "application/json"})

    def _send(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Exchange:
        if self._slow >= self._limits.patience:
            raise GaveUp
        url = f"{self.base}/{path}" if path else self.base
        begun = self._clock()
        try:
            with self._http.stream(method, url, content=body, headers=headers) as answer:
                content = self._read(answer, begun)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as e:
            return self._failed(method, url, body, begun, e, is_reached=False)
        except (httpx.HTTPError, _TooMuch) as e:
            return self._failed(method, url, body, begun, e, is_reached=True)
        seconds = self._took(begun)
        text, is_utf8 = _decoded(content)
        return Exchange(
            method, url, body or "", answer.status_code, dict(answer.headers), text, seconds, is_utf8=is_utf8
        )

    def _read(self, answer: httpx.Response, begun: float) -> bytes:
        """The body, unpacked. Raises _TooMuch."""
        found = bytearray()
        for piece in answer.iter_bytes():
            found += piece
            if len(found) > self._limits.largest:
                raise _TooMuch(f"the answer is larger than {self._limits.largest} bytes")
            if self._clock() - begun > self._limits.whole:
                raise _TooMuch(f"the answer takes longer than {self._limits.whole:g} s")
        return bytes(found)

    def _failed(
        self, method: str, url: str, body: str | None, begun: float, e: Exception, *, is_reached: bool
    ) -> Exchange:
        why = str(e) or type(e).__name__
        return Exchange(method, url, body or "", seconds=self._took(begun), problem=why, is_reached=is_reached)

    def _took(self, begun: float) -> float:
        seconds = self._clock() - begun
        self._slow += seconds >= self._limits.silence
        return seconds


def _decoded(content: bytes) -> tuple[str, bool]:
    """FHIR is UTF-8, whatever the header says (SPEC §2)."""
    try:
        return content.decode(), True
    except UnicodeDecodeError:
        return content.decode(errors="replace"), False


def old_tls_accepted(url: str) -> list[str]:
    """The versions of TLS below 1.2 with which the server lets a client in (test 1.2.01 of the kit). Versions that the
    TLS library here cannot speak any more are not tried."""
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
        if _shakes_hands(url, context):
            found.append(version.name)
    return found


def _shakes_hands(url: str, context: ssl.SSLContext) -> bool:
    try:
        with httpx.Client(verify=context, timeout=LIMITS.silence) as client, client.stream("GET", url):
            pass
    except httpx.HTTPError:
        return False
    return True
