"""The HTTP client of the checks: what the platform sends, what came back, and how long it took."""

from __future__ import annotations

import ssl
import time
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType

import httpx

from fhirstore.errors import StartupError
from fhirstore_sas.check.model import Exchange

ACCEPT = "application/json+fhir"
"""Sic: the guide's name for it (SPEC §2)."""
TIMEOUT = 30.0
OLD_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


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
    ):
        self.base = base.rstrip("/")
        self._clock = clock
        verify = tls if tls is not None else True
        self._http = httpx.Client(verify=verify, transport=transport, timeout=TIMEOUT)

    def without_certificate(self, cacert: str | None) -> Client:
        """A client of the same endpoint that presents no certificate."""
        return Client(self.base, tls_context(None, None, cacert), clock=self._clock)

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
        url = f"{self.base}/{path}" if path else self.base
        begun = self._clock()
        try:
            answer = self._http.request(method, url, content=body, headers=headers)
            text, seconds = answer.text, self._clock() - begun
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            why = str(e) or type(e).__name__
            return Exchange(method, url, body or "", seconds=self._clock() - begun, problem=why)
        return Exchange(method, url, body or "", answer.status_code, dict(answer.headers), text, seconds)


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
        with httpx.Client(verify=context, timeout=TIMEOUT) as client:
            client.get(url)
    except httpx.HTTPError:
        return False
    return True
