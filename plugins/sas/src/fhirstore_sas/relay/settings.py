"""The settings of the relay: options of the plugin, `sas.relay_…`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from fhirstore_sas.configuration import SasConfiguration, tls_context


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
        return tls_context(self.cert, self.key, self.ca)


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
