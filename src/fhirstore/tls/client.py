"""The TLS context of a client of another server: it verifies the server and can present a certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.tls.files import load_certificate, read_file

File = str | Path | None


def client_context(
    cert: File, key: File, ca: File, names: tuple[str, str, str] = ("--cert", "--key", "--cacert")
) -> ssl.SSLContext:
    """A context for TLS 1.2 or newer.

    cert, key: PEM files of the client certificate and its key, None if there is none or if the key is in the file of
    the certificate. ca: PEM file of the authorities that verify the server, None for those of the system. names: of the
    options, for messages. Raises StartupError that names the option and the file."""
    for_cert, for_key, for_ca = names
    if key is not None and cert is None:
        raise StartupError(f"{for_key}: {for_cert} is not set. A client certificate needs both.")
    try:
        context = ssl.create_default_context(cadata=None if ca is None else _authorities(for_ca, str(ca)))
    except ssl.SSLError as e:
        raise StartupError(f"{for_ca}: {ca} cannot be used: {e}.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert is not None:
        load_certificate(context, str(cert), None if key is None else str(key), (for_cert, for_key))
    return context


def _authorities(name: str, ca: str) -> str:
    text = read_file(name, ca).decode("ascii", "replace")
    if "BEGIN CERTIFICATE-----" not in text:
        raise StartupError(f"{name}: {ca}: no certificate in PEM format (-----BEGIN CERTIFICATE-----) in the file.")
    return text
