"""The options of the SAS plugin: `plugin_options = ["sas.NAME=VALUE"]`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fhirstore.plugins import OptionError, client_context, option

TLS_OPTIONS = ("sas.relay_cert", "sas.relay_key", "sas.relay_ca")
LATEST, PREVIOUS = "1.2.0", "1.1.0"
"""Supported versions of the implementation guide."""
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_MOST_SECONDS = 1e9


def _platform_url(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme == "https" and parts.hostname and not parts.query and not parts.fragment:
        return
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return
    raise ValueError(
        "the base URL of the platform's FHIR server, such as https://platform.example/fhir; "
        "http:// only for a proxy on this machine"
    )


def _readable_file(path: Path) -> None:
    if not os.access(path, os.R_OK) or path.is_dir():
        raise ValueError("a PEM file that this process can read")


@dataclass(frozen=True)
class SasConfiguration:
    """docs/sas/editor.md, docs/sas/relay.md, docs/sas/rules.md and docs/sas/check.md explain the options."""

    corrections: bool = option(True, "Correct unambiguous errors in the editor's resources when they are written.")
    booking: bool = option(True, "Make slots busy when an appointment takes them, and free when it is cancelled.")
    guide: Literal["1.2.0", "1.1.0"] = option(LATEST, "Version of the guide that writes are validated against.")
    identifiers: int = option(
        1000, "Identifiers that one search of the platform may contain.", minimum=1, maximum=999_999_999
    )
    slot_audit: int = option(900, "Seconds between two audits of the free slots; 0 turns them off.", minimum=0)
    relay_url: str | None = option(None, "Base URL of the platform; turns the relay on.", check=_platform_url)
    relay_cert: Path | None = option(None, "Client certificate for the platform, PEM.", check=_readable_file)
    relay_key: Path | None = option(None, "Key of the client certificate, PEM.", check=_readable_file)
    relay_ca: Path | None = option(
        None,
        "Authorities that issue the platform's certificate, PEM; default: those of the system.",
        check=_readable_file,
    )
    relay_timeout: float = option(
        10.0, "Seconds for each step of a request to the platform.", above=0, maximum=_MOST_SECONDS
    )
    relay_pause: float = option(300.0, "Longest pause in seconds between two attempts.", above=0, maximum=_MOST_SECONDS)
    relay_park_after: float = option(
        86400.0, "Seconds after which an appointment that cannot be sent is parked.", above=0, maximum=_MOST_SECONDS
    )
    relay_in: Literal["serve", "command"] = option(
        "serve", "Run the relay in fhirstore serve, or only with fhirstore sas relay."
    )

    def __post_init__(self) -> None:
        """Raises OptionError for options of the relay that do not go together."""
        if self.relay_url is None:
            for name in ("relay_cert", "relay_key", "relay_ca"):
                if getattr(self, name) is not None:
                    raise OptionError(name, "requires sas.relay_url, which is not set.")
            return
        if self.relay_key is not None and self.relay_cert is None:
            raise OptionError("relay_key", "requires sas.relay_cert, which is not set.")
        if self.relay_url.startswith("https:"):
            if self.relay_cert is None:
                raise OptionError(
                    "relay_cert",
                    "the platform requires a client certificate. Set the PEM file of the certificate, and "
                    "sas.relay_key if the key is in another file.",
                )
            client_context(self.relay_cert, self.relay_key, self.relay_ca, TLS_OPTIONS)
