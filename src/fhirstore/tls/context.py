"""The TLS of the server's own connections: version 1.2 or newer, and client certificates asked for, never demanded.

A client without certificate finishes the handshake and is answered by status (`http/clients.py`). A certificate of
another authority, one that is not valid now, or one that is revoked ends the handshake with an alert of OpenSSL.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.tls.certificates import Certificate, RevocationList, read_certificates, read_revocation_lists

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
"""A handshake that takes longer is given up, so that a client that falls silent holds no thread."""
LOOK_S = 1.0
"""The files are looked at so often at most."""


def check_settings(settings: Settings) -> None:
    """Raises StartupError for settings that have no effect, or would leave the door open, in this combination."""
    if settings.tls_key and not settings.tls_cert:
        raise StartupError("tls_key: a key without tls_cert; both are needed for TLS.")
    header, proxies = settings.client_cert_header, settings.trusted_proxies
    if header and not proxies:
        raise StartupError("client_cert_header: only proxies may send it; name their addresses in trusted_proxies.")
    if settings.tls_client == "off":
        for name in ("tls_client_ca", "tls_client_crl", "tls_client_names", "tls_client_units", "client_cert_header"):
            if getattr(settings, name):
                raise StartupError(f"{name}: without effect while tls_client is off; set it to required or optional.")
        return
    if settings.tls_client_ca and not settings.tls_cert:
        raise StartupError("tls_client_ca: without effect without tls_cert; a proxy verifies certificates for itself.")
    if settings.tls_client_crl and not settings.tls_client_ca:
        raise StartupError("tls_client_crl: without effect without tls_client_ca, which says who issues certificates.")
    if not header and not (settings.tls_cert and settings.tls_client_ca):
        raise StartupError(
            f"tls_client={settings.tls_client}: there is no way to know a client; set tls_cert, tls_key and "
            "tls_client_ca for TLS by the server itself, or client_cert_header and trusted_proxies behind a proxy."
        )


def make_context(settings: Settings) -> ssl.SSLContext:
    """settings: with tls_cert. Raises StartupError, which names the setting and the file."""
    assert settings.tls_cert
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.sslsocket_class = _Socket
    _load_own(context, settings.tls_cert, settings.tls_key)
    if settings.tls_client != "off" and settings.tls_client_ca:
        _load_clients(context, settings.tls_client_ca, settings.tls_client_crl)
    return context


def _load_own(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    _certificates("tls_cert", cert)
    if b"PRIVATE KEY-----" not in _read("tls_key" if key else "tls_cert", key or cert):
        where = f"tls_key: {key}" if key else f"tls_cert: {cert}"
        raise StartupError(f"{where}: the file holds no private key in PEM{'' if key else '; name it in tls_key'}.")
    try:
        context.load_cert_chain(cert, key, _no_password)
    except _Encrypted:
        raise StartupError(f"tls_key: {key or cert}: the key is encrypted; one without a password is wanted.") from None
    except (ssl.SSLError, OSError) as e:
        if getattr(e, "reason", None) == "KEY_VALUES_MISMATCH":
            text = f"tls_key: {key or cert} is not the key of the first certificate in {cert}."
        else:
            text = f"tls_key: {key or cert} cannot be used with the certificate in {cert}: {e}."
        raise StartupError(text) from None


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted


def _load_clients(context: ssl.SSLContext, ca: str, crls: Sequence[str]) -> None:
    context.verify_mode = ssl.CERT_OPTIONAL
    # What stands in the file is trusted, an intermediate authority without its root too.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    authorities = _certificates("tls_client_ca", ca)
    try:
        context.load_verify_locations(cadata=b"".join(authority.der for authority in authorities))
    except ssl.SSLError as e:
        raise StartupError(f"tls_client_ca: {ca} cannot be used: {e}.") from None
    if not crls:
        return
    lists = [found for path in crls for found in _revocation_lists(path)]
    _add_lists(context, lists)
    issuers = {one.issuer for one in lists}
    # With the lists of all authorities the whole chain is checked, else the client's own certificate.
    is_whole = all(authority.issuer in issuers for authority in authorities)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN if is_whole else ssl.VERIFY_CRL_CHECK_LEAF


def tell_expired(settings: Settings) -> None:
    """Logs which of the files that `make_context` takes are out of date, and what follows from it."""
    now = datetime.now(UTC)
    assert settings.tls_cert
    end = _certificates("tls_cert", settings.tls_cert)[0].not_after
    if end < now:
        log.warning("tls_cert: %s expired on %s; clients refuse it", settings.tls_cert, end.isoformat())
    for path in settings.tls_client_crl:
        for read in _revocation_lists(path):
            if read.next_update is not None and read.next_update < now:
                log.warning(
                    "tls_client_crl: %s expired on %s; all clients of its authority are refused until a newer one is "
                    "there",
                    path,
                    read.next_update.isoformat(),
                )


def _certificates(setting: str, path: str) -> list[Certificate]:
    data = _read(setting, path)
    try:
        found = read_certificates(data)
    except ValueError as e:
        raise StartupError(f"{setting}: {path}: a certificate in it cannot be read: {e}.") from None
    if not found:
        raise StartupError(f"{setting}: {path}: the file holds no certificate in PEM (-----BEGIN CERTIFICATE-----).")
    return found


def _revocation_lists(path: str) -> list[RevocationList]:
    data = _read("tls_client_crl", path)
    try:
        found = read_revocation_lists(data)
    except ValueError as e:
        raise StartupError(f"tls_client_crl: {path}: this is no revocation list in PEM or DER: {e}.") from None
    if not found:
        raise StartupError(f"tls_client_crl: {path}: the file holds no revocation list (-----BEGIN X509 CRL-----).")
    return found


def _add_lists(context: ssl.SSLContext, lists: Sequence[RevocationList]) -> None:
    """OpenSSL takes lists from a PEM file only."""
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        for one in lists:
            file.write(one.pem)
        file.flush()
        try:
            context.load_verify_locations(cafile=file.name)
        except ssl.SSLError as e:
            raise StartupError(f"tls_client_crl: a revocation list cannot be used: {e}.") from None


def _read(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise StartupError(f"{setting}: {path}: the file cannot be read: {e.strerror}.") from None


class _Socket(ssl.SSLSocket):
    """A connection whose handshake ends in time; gunicorn has no limit for it."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(HANDSHAKE_S)
        try:
            super().do_handshake(block)
        except ssl.SSLEOFError:
            # Told as what it is: gunicorn closes such a connection twice, and counts it twice.
            raise ConnectionResetError(errno.ECONNRESET, "the client went away during the handshake") from None
        except TimeoutError:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, f"the handshake took longer than {HANDSHAKE_S:g} s") from None
        finally:
            with contextlib.suppress(OSError):
                self.settimeout(None)


class Contexts:
    """The context of each new connection; made anew when a file of it has changed. Threads may share it."""

    def __init__(self, settings: Settings):
        """settings: with tls_cert. Raises StartupError."""
        self._settings = settings
        self.cert = settings.tls_cert
        self._files = tuple(
            f for f in (settings.tls_cert, settings.tls_key, settings.tls_client_ca, *settings.tls_client_crl) if f
        )
        self._stamp = self._look()
        self._context = make_context(settings)
        self._next_look = time.monotonic() + LOOK_S
        self._lock = threading.Lock()

    def current(self) -> ssl.SSLContext:
        """Files that cannot be used leave the context as it is, with a line in the log."""
        if time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._next_look = time.monotonic() + LOOK_S
                stamp = self._look()
                if stamp != self._stamp:
                    self._stamp = stamp
                    self._context = make_context(self._settings)
                    tell_expired(self._settings)
                    log.info("the files of TLS have changed and were read again")
            except StartupError as e:
                log.error("TLS goes on with the files as they were: %s", e)
            finally:
                self._lock.release()
        return self._context

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: str) -> tuple[int, int, int]:
    try:
        found = os.stat(file)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
