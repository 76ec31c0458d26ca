"""What can be set of the relay: options of the plugin, `sas.relay_…`."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from fhirstore.errors import StartupError
from fhirstore.plugins import PluginOption

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


def _url(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme == "https" and parts.hostname and not parts.query and not parts.fragment:
        return
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return
    raise ValueError(
        "the base of the platform's FHIR server is wanted, such as https://platform.example/fhir "
        "(http:// only for a proxy on this machine)"
    )


def _file(text: str) -> None:
    if not os.access(text, os.R_OK) or os.path.isdir(text):
        raise ValueError("a PEM file that this process can read is wanted")


def _seconds(text: str) -> None:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < 1e9:
        raise ValueError("a number of seconds greater than 0 is wanted")


OPTIONS = (
    PluginOption("relay_url", check=_url),
    PluginOption("relay_cert", check=_file),
    PluginOption("relay_key", check=_file),
    PluginOption("relay_ca", check=_file),
    PluginOption("relay_timeout", default="10", check=_seconds),
    PluginOption("relay_pause", default="300", check=_seconds),
    PluginOption("relay_park_after", default="86400", check=_seconds),
    PluginOption("relay_in", ("serve", "command")),
)


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """url: base of the platform, without a slash at its end. timeout_s: for each step of a request (to connect, to
    send, to wait for the answer). pause_s: the longest pause between two attempts. park_after_s: how long an
    appointment is tried. in_serve: `fhirstore serve` runs the relay."""

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
        """Longer than any attempt: to connect, to shake hands, to send, to wait."""
        return 4 * self.timeout_s + 2

    def tls(self) -> ssl.SSLContext:
        """Shows our certificate, verifies the platform's. Raises StartupError."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as e:
            raise StartupError(
                f"plugin_options, sas.relay_cert, sas.relay_key or sas.relay_ca: the file cannot be used: {e}."
            ) from e
        return context


def relay_settings(options: Mapping[str, str]) -> RelaySettings | None:
    """None = no relay is configured. Raises StartupError for options that do not go together."""
    given = {name: options.get(f"sas.{name}") or None for name in ("relay_url", "relay_cert", "relay_key", "relay_ca")}
    url = given["relay_url"]
    if url is None:
        wrong = next((name for name, value in given.items() if value), None)
        if wrong:
            raise StartupError(f"plugin_options, sas.{wrong}: it goes with sas.relay_url, which is not set.")
        return None
    if given["relay_key"] and not given["relay_cert"]:
        raise StartupError("plugin_options, sas.relay_key: it goes with sas.relay_cert, which is not set.")
    if url.startswith("https:") and not given["relay_cert"]:
        raise StartupError(
            "plugin_options, sas.relay_cert: the platform wants a client certificate; name its PEM file, and with "
            "sas.relay_key that of its key, where it is another one."
        )
    return RelaySettings(
        url.rstrip("/"),
        given["relay_cert"],
        given["relay_key"],
        given["relay_ca"],
        float(options["sas.relay_timeout"]),
        float(options["sas.relay_pause"]),
        float(options["sas.relay_park_after"]),
        options["sas.relay_in"] == "serve",
    )
