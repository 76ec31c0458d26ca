"""The PEM files of a certificate and its key."""

from __future__ import annotations

import ssl
from pathlib import Path

from fhirstore.errors import StartupError


def read_file(setting: str, path: str) -> bytes:
    """The content of a file. setting: for messages. Raises StartupError."""
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise StartupError(f"{setting}: {path}: cannot read the file: {e.strerror}.") from None


def load_certificate(context: ssl.SSLContext, cert: str, key: str | None, names: tuple[str, str]) -> None:
    """Loads the certificate that this side presents. names: of the settings or options of the two files, for messages.
    Raises StartupError."""
    for_cert, for_key = names
    if b"BEGIN CERTIFICATE-----" not in read_file(for_cert, cert):
        raise StartupError(
            f"{for_cert}: {cert}: no certificate in PEM format (-----BEGIN CERTIFICATE-----) in the file."
        )
    if b"PRIVATE KEY-----" not in read_file(for_key if key else for_cert, key or cert):
        where = f"{for_key}: {key}" if key else f"{for_cert}: {cert}"
        raise StartupError(f"{where}: no private key in PEM format in the file.{'' if key else f' Set {for_key}.'}")
    try:
        context.load_cert_chain(cert, key, _no_password)
    except _EncryptedKey:
        raise StartupError(f"{for_key}: {key or cert}: the key is encrypted. Use a key without a password.") from None
    except (ssl.SSLError, OSError) as e:
        if getattr(e, "reason", None) == "KEY_VALUES_MISMATCH":
            text = f"{for_key}: {key or cert} is not the key of the first certificate in {cert}."
        else:
            text = f"{for_key}: {key or cert} cannot be used with the certificate in {cert}: {e}."
        raise StartupError(text) from None


class _EncryptedKey(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKey
