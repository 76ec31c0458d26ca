"""Identifies clients by their certificate, from the TLS connection or from the header of a trusted proxy.

Responds with 401 if a required certificate is missing, and with 403 if the certificate is not one of the accepted
clients (settings tls_client, tls_client_names, tls_client_units).
"""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from typing import Any

from fhirstore.errors import FhirError, error
from fhirstore.http.proxies import TrustedProxies, is_from_this_machine
from fhirstore.model.messages import Message
from fhirstore.settings import Settings
from fhirstore.tls.subject import ClientIdentity, from_der, from_header, same_name

log = logging.getLogger(__name__)

ENVIRON = "fhirstore.client"
"""The key of the accepted client's Subject in the WSGI environment."""

Environ = dict[str, Any]


class Clients:
    """Applies the settings for client certificates. Threads may share it.

    is_wanted: whether requests are checked. reads_headers: whether headers of proxies matter."""

    def __init__(self, settings: Settings):
        self.is_wanted = settings.tls_client != "off"
        self._is_required = settings.tls_client == "required"
        self._names, self._units = settings.tls_client_names, settings.tls_client_units
        self._header = settings.client_cert_header
        self._key = f"HTTP_{self._header.upper().replace('-', '_')}" if self._header else None
        self._proxies = TrustedProxies(settings.trusted_proxies)
        self.reads_headers = self._key is not None or bool(self._proxies)

    def take_headers(self, environ: Environ) -> str | None:
        """Removes the header of the certificate, so that no other code trusts it, and returns it.

        Sets the scheme that a trusted proxy states. Raises 400 if it states several."""
        passed: str | None = environ.pop(self._key, None) if self._key is not None else None
        self._proxies.apply_scheme(environ)
        return passed

    def admit(self, environ: Environ, passed: str | None) -> None:
        """Raises 401 and 403 unless the client is accepted, or anonymous where that is allowed. passed: the header of
        the certificate."""
        is_passed = self._key is not None and self._proxies.sent(environ)
        try:
            client = self._passed(passed) if is_passed else _of_connection(environ)
        except ValueError as e:
            raise self._refused(
                environ, Message("The client certificate cannot be read: {reason}.", reason=e)
            ) from None
        if client is not None:
            self._check(environ, client)
            environ[ENVIRON] = client.subject
        elif self._is_required:
            if passed is not None and not is_passed:
                log.warning("%s sent %s, but is not one of trusted_proxies", environ.get("REMOTE_ADDR"), self._header)
            text = Message("A client certificate is required, and there is none; present one in the TLS handshake.")
            # RFC 9110 requires a challenge with 401; none is registered for certificates.
            raise error(401, "login", text, headers={"WWW-Authenticate": "TLS-Client-Certificate"})

    def is_known(self, environ: Environ) -> bool:
        """Whether the caller may see details: accepted clients, this machine, and everyone if no certificate is
        required."""
        return not self._is_required or self.is_here(environ)

    def is_here(self, environ: Environ) -> bool:
        """Whether the request comes from this machine, and not from a trusted proxy."""
        return is_from_this_machine(environ) and not self._proxies.sent(environ)

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


def _of_connection(environ: Environ) -> ClientIdentity | None:
    """The identity of a TLS connection of gunicorn, verified by OpenSSL."""
    connection = environ.get("gunicorn.socket")
    der = connection.getpeercert(True) if isinstance(connection, ssl.SSLSocket) else None
    return from_der(der) if der else None
