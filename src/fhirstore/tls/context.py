"""The TLS context of the server: TLS 1.2 or newer, with client certificates requested but not required.

A client without a certificate completes the handshake and gets an HTTP status (`http/clients.py`). A certificate that
is revoked, outside its validity period, or from another authority ends the handshake with a TLS alert.
"""

from __future__ import annotations

import logging
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.tls.certificates import Certificate, RevocationList, read_certificates, read_revocation_lists
from fhirstore.tls.files import load_certificate, read_file

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0
"""Minimum time between two checks whether the files have changed."""


def check_settings(settings: Settings) -> None:
    """Raises StartupError for combinations of settings that have no effect or leave the server unprotected."""
    if settings.tls_key and not settings.tls_cert:
        raise StartupError("tls_key: tls_cert is not set. TLS needs both.")
    header, proxies = settings.client_cert_header, settings.trusted_proxies
    if header and not proxies:
        raise StartupError(
            "client_cert_header: trusted_proxies is not set. List the addresses that may send the header."
        )
    if settings.tls_client == "off":
        for name in ("tls_client_ca", "tls_client_crl", "tls_client_names", "tls_client_units", "client_cert_header"):
            if getattr(settings, name):
                raise StartupError(f"{name}: has no effect while tls_client is off. Set it to required or optional.")
        return
    if settings.tls_client_ca and not settings.tls_cert:
        raise StartupError("tls_client_ca: has no effect without tls_cert. Behind a proxy, the proxy verifies clients.")
    if settings.tls_client_crl and not settings.tls_client_ca:
        raise StartupError("tls_client_crl: has no effect without tls_client_ca, the authorities of the lists.")
    if not header and not (settings.tls_cert and settings.tls_client_ca):
        raise StartupError(
            f"tls_client={settings.tls_client}: the server cannot identify clients. Set tls_cert, tls_key and "
            "tls_client_ca, or, behind a proxy, client_cert_header and trusted_proxies."
        )


def make_context(settings: Settings) -> ssl.SSLContext:
    """The context for settings with tls_cert. Raises StartupError that names the setting and the file."""
    assert settings.tls_cert
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    _certificates("tls_cert", settings.tls_cert)
    load_certificate(context, settings.tls_cert, settings.tls_key, ("tls_cert", "tls_key"))
    if settings.tls_client != "off" and settings.tls_client_ca:
        _load_client_authorities(context, settings.tls_client_ca, settings.tls_client_crl)
    return context


def log_expired(settings: Settings) -> None:
    """Logs a warning for an expired server certificate and for each expired revocation list."""
    now = datetime.now(UTC)
    assert settings.tls_cert
    end = _certificates("tls_cert", settings.tls_cert)[0].not_after
    if end < now:
        log.warning("tls_cert: %s expired on %s; clients reject it", settings.tls_cert, end.isoformat())
    for path in settings.tls_client_crl:
        for crl in _revocation_lists(path):
            if crl.next_update is not None and crl.next_update < now:
                log.warning(
                    "tls_client_crl: %s expired on %s; clients of its authority are rejected until it is replaced",
                    path,
                    crl.next_update.isoformat(),
                )


def log_failed_handshake(peer: str, problem: ssl.SSLError) -> None:
    """Logs why a TLS handshake failed."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        log.warning("client certificate from %s rejected: %s", peer, problem.verify_message)
    else:
        log.info("TLS handshake with %s failed: %s", peer, problem)


class ReloadingTlsContext:
    """Gives each new connection its context, and rebuilds the context after a change of its files. Thread-safe."""

    def __init__(self, settings: Settings):
        """settings: with tls_cert. Raises StartupError."""
        self._settings = settings
        self.cert = settings.tls_cert
        self._files = tuple(
            f for f in (settings.tls_cert, settings.tls_key, settings.tls_client_ca, *settings.tls_client_crl) if f
        )
        self._stamps = self._file_stamps()
        self._context = make_context(settings)
        self._next_check = time.monotonic() + CHECK_INTERVAL_S
        self._lock = threading.Lock()

    def current(self) -> ssl.SSLContext:
        """The context to use now. Unusable files keep the previous context and log an error."""
        if time.monotonic() >= self._next_check and self._lock.acquire(blocking=False):
            try:
                self._next_check = time.monotonic() + CHECK_INTERVAL_S
                stamps = self._file_stamps()
                if stamps != self._stamps:
                    self._stamps = stamps
                    self._context = make_context(self._settings)
                    log_expired(self._settings)
                    log.info("TLS files changed and were reloaded")
            except StartupError as e:
                log.error("TLS files changed but cannot be used; the previous ones stay in effect: %s", e)
            finally:
                self._lock.release()
        return self._context

    def _file_stamps(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_file_stamp(file) for file in self._files)


def _file_stamp(file: str) -> tuple[int, int, int]:
    try:
        status = os.stat(file)
    except OSError:
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


# --- loading the files ------------------------------------------------------------------------------


def _load_client_authorities(context: ssl.SSLContext, ca: str, crl_files: Sequence[str]) -> None:
    context.verify_mode = ssl.CERT_OPTIONAL
    # Trust every authority in the file, including an intermediate one without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    authorities = _certificates("tls_client_ca", ca)
    try:
        context.load_verify_locations(cadata=b"".join(authority.der for authority in authorities))
    except ssl.SSLError as e:
        raise StartupError(f"tls_client_ca: {ca} cannot be used: {e}.") from None
    if not crl_files:
        return
    lists = [crl for path in crl_files for crl in _revocation_lists(path)]
    _add_revocation_lists(context, lists)
    issuers = {crl.issuer for crl in lists}
    # OpenSSL rejects a chain if a list is missing: check the whole chain only if all authorities have one.
    complete = all(authority.issuer in issuers for authority in authorities)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN if complete else ssl.VERIFY_CRL_CHECK_LEAF


def _certificates(setting: str, path: str) -> list[Certificate]:
    data = read_file(setting, path)
    try:
        found = read_certificates(data)
    except ValueError as e:
        raise StartupError(f"{setting}: {path}: cannot read a certificate in the file: {e}.") from None
    if not found:
        raise StartupError(
            f"{setting}: {path}: no certificate in PEM format (-----BEGIN CERTIFICATE-----) in the file."
        )
    return found


def _revocation_lists(path: str) -> list[RevocationList]:
    data = read_file("tls_client_crl", path)
    try:
        found = read_revocation_lists(data)
    except ValueError as e:
        raise StartupError(f"tls_client_crl: {path}: not a revocation list in PEM or DER format: {e}.") from None
    if not found:
        raise StartupError(f"tls_client_crl: {path}: no revocation list (-----BEGIN X509 CRL-----) in the file.")
    return found


def _add_revocation_lists(context: ssl.SSLContext, lists: Sequence[RevocationList]) -> None:
    """Loads the lists through a temporary file, because OpenSSL reads them from PEM files only."""
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        for crl in lists:
            file.write(crl.pem)
        file.flush()
        try:
            context.load_verify_locations(cafile=file.name)
        except ssl.SSLError as e:
            raise StartupError(f"tls_client_crl: a revocation list cannot be used: {e}.") from None
