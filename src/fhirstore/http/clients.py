"""Identifies clients by their certificate, from the TLS connection or from the header of a trusted proxy.

Responds with 401 if a required certificate is missing, and with 403 if the certificate is not one of the accepted
clients (settings tls_client, tls_client_names, tls_client_units).
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message
from fhirstore.settings import Settings
from fhirstore.tls.subject import ClientIdentity, Subject, from_der, from_header, same_name

log = logging.getLogger(__name__)

OPEN = frozenset(("/health/live", "/health/ready"))
"""Paths that require no certificate, because monitoring rarely has one."""

_PASSED_ON = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)
"""Headers by which proxies announce another client."""

ENVIRON = "fhirstore.client"
"""The key of the accepted client's Subject in the WSGI environment."""

Environ = dict[str, Any]


class Clients:
    """Applies the settings for client certificates. Threads may share it."""

    def __init__(self, settings: Settings, base: str = "/fhir"):
        """base: the path of the FHIR API. This machine may request other paths (/health, pages for operators) without a
        certificate."""
        self._base = base
        self.is_wanted = settings.tls_client != "off"
        self._is_required = settings.tls_client == "required"
        self._names, self._units = settings.tls_client_names, settings.tls_client_units
        self._header = settings.client_cert_header
        self._key = f"HTTP_{self._header.upper().replace('-', '_')}" if self._header else None
        self._is_proxy = _trust(settings.trusted_proxies)

    def admit(self, environ: Environ) -> Subject | None:
        """The client, None if it is anonymous and that is allowed. Raises 401 and 403."""
        # removed, so that no other code trusts a header that a client can set
        passed = environ.pop(self._key, None) if self._key is not None else None
        path = environ.get("PATH_INFO", "")
        if path in OPEN or (not path.startswith(self._base) and self.is_here(environ)):
            return None
        is_passed = self._key is not None and self._is_proxy(environ.get("REMOTE_ADDR", ""))
        try:
            client = self._passed(passed) if is_passed else _of_connection(environ)
        except ValueError as e:
            raise self._refused(
                environ, Message("The client certificate cannot be read: {reason}.", reason=e)
            ) from None
        if client is None:
            if not self._is_required:
                return None
            if passed is not None and not is_passed:
                log.warning("%s sent %s, but is not one of trusted_proxies", environ.get("REMOTE_ADDR"), self._header)
            text = Message("A client certificate is required, and there is none; present one in the TLS handshake.")
            # RFC 9110 requires a challenge with 401; none is registered for certificates.
            raise error(401, "login", text, headers={"WWW-Authenticate": "TLS-Client-Certificate"})
        self._check(environ, client)
        environ[ENVIRON] = client.subject
        return client.subject

    def is_known(self, environ: Environ) -> bool:
        """Whether the caller may see details: accepted clients, this machine, and everyone if no certificate is
        required."""
        return not self._is_required or self.is_here(environ)

    def is_here(self, environ: Environ) -> bool:
        """Whether the request comes from this machine, and not from a trusted proxy."""
        return is_here(environ) and not self._is_proxy(environ.get("REMOTE_ADDR", ""))

    def _passed(self, value: str | None) -> ClientIdentity | None:
        return from_header(value) if value is not None and value.strip() else None

    def _check(self, environ: Environ, client: ClientIdentity) -> None:
        subject = client.subject
        if not client.is_valid(datetime.now(UTC)):
            raise self._refused(environ, Message("The client certificate is not valid at this time."))
        if self._names and not any(same_name(subject.common_name, name) for name in self._names):
            raise self._refused(
                environ,
                Message(
                    "The Common Name {common_name} of the client certificate is not admitted here "
                    "(setting tls_client_names).",
                    common_name=repr(subject.common_name[:80]),
                ),
            )
        if self._units and not any(same_name(unit, name) for unit in subject.units for name in self._units):
            units = ", ".join(repr(unit[:80]) for unit in sorted(subject.units)[:5]) or "none"
            raise self._refused(
                environ,
                Message(
                    "No Organizational Unit of the client certificate is admitted here: {units} (setting "
                    "tls_client_units).",
                    units=units,
                ),
            )

    def _refused(self, environ: Environ, text: str) -> FhirError:
        log.warning("refused a client at %s: %s", environ.get("REMOTE_ADDR"), text)
        return error(403, "forbidden", text)


def is_here(environ: Environ) -> bool:
    """Whether the request comes from this machine, and not through a proxy. A request that a proxy forwards counts as
    remote, whatever the address of the proxy is."""
    if any(environ.get(name) for name in _PASSED_ON):
        return False
    peer = _address(environ.get("REMOTE_ADDR") or "")
    return peer is not None and peer.is_loopback


def _of_connection(environ: Environ) -> ClientIdentity | None:
    """The identity of a TLS connection of gunicorn, verified by OpenSSL."""
    connection = environ.get("gunicorn.socket")
    der = connection.getpeercert(True) if isinstance(connection, ssl.SSLSocket) else None
    return from_der(der) if der else None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _trust(proxies: tuple[str, ...]) -> Any:
    networks = [ipaddress.ip_network(proxy) for proxy in proxies]

    @lru_cache(maxsize=1024)
    def is_proxy(peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in network for network in networks)

    return is_proxy
