"""Reads certificates and revocation lists (https://www.rfc-editor.org/rfc/rfc5280).

OpenSSL verifies them. This module reads their names and validity with `cryptography`, which it imports on use: a server
without TLS does not load the library.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from fhirstore.model.messages import Message

if TYPE_CHECKING:
    from cryptography import x509

COMMON_NAME, UNIT = "2.5.4.3", "2.5.4.11"

_CERTIFICATE_HEADER, _CRL_HEADER = b"-----BEGIN CERTIFICATE-----", b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """names: (OID, text) of each attribute of the subject, in order. The times are in UTC."""

    der: bytes
    names: tuple[tuple[str, str], ...]
    issuer: x509.Name
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class RevocationList:
    """next_update: in UTC; None if the list does not state it."""

    pem: bytes
    issuer: x509.Name
    next_update: datetime | None


def read_certificate(der: bytes) -> Certificate:
    """Raises ValueError with the reason."""
    from cryptography import x509

    with _as_value_error(Message("not an X.509 certificate")):
        loaded = x509.load_der_x509_certificate(der)
    return _certificate(loaded)


def read_certificates(pem: bytes) -> list[Certificate]:
    """All certificates in a PEM file, which may also contain other blocks. Raises ValueError with the reason."""
    from cryptography import x509

    with _as_value_error(Message("not an X.509 certificate")):
        loaded = [x509.load_pem_x509_certificate(block) for block in _pem_blocks(_CERTIFICATE_HEADER, pem)]
    return [_certificate(certificate) for certificate in loaded]


def host_names(pem: bytes) -> list[str]:
    """The DNS names and addresses of the first certificate in a PEM file.

    https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6. Raises ValueError with the reason."""
    from cryptography import x509

    with _as_value_error(Message("not an X.509 certificate")):
        first = x509.load_pem_x509_certificate(_pem_blocks(_CERTIFICATE_HEADER, pem)[0])
        try:
            names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def read_revocation_lists(data: bytes) -> list[RevocationList]:
    """All revocation lists in a PEM file, which may also contain other blocks, or the one in a DER file.

    Raises ValueError with the reason.
    """
    from cryptography import x509

    with _as_value_error(Message("not an X.509 revocation list")):
        if b"-----BEGIN" not in data:
            return [_revocation_list(x509.load_der_x509_crl(data))]
        return [_revocation_list(x509.load_pem_x509_crl(block)) for block in _pem_blocks(_CRL_HEADER, data)]


def _pem_blocks(header: bytes, data: bytes) -> list[bytes]:
    """The blocks that start with the header, each up to the next header.

    The library reads one revocation list per call. Its reader for several certificates skips a truncated last one, as
    in a file that is still being written.
    """
    return [header + rest for rest in data.split(header)[1:]]


def _certificate(loaded: x509.Certificate) -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    with _as_value_error(Message("a name or a date in it is unreadable")):
        return Certificate(
            loaded.public_bytes(Encoding.DER),
            tuple((a.oid.dotted_string, a.value) for a in loaded.subject if isinstance(a.value, str)),
            loaded.issuer,
            loaded.not_valid_before_utc,
            loaded.not_valid_after_utc,
        )


def _revocation_list(loaded: x509.CertificateRevocationList) -> RevocationList:
    from cryptography.hazmat.primitives.serialization import Encoding

    return RevocationList(loaded.public_bytes(Encoding.PEM), loaded.issuer, loaded.next_update_utc)


@contextmanager
def _as_value_error(text: str) -> Iterator[None]:
    """Turns every exception of the library into a ValueError.

    Damaged data also raises InvalidVersion, TypeError and others. Warnings about unusual but readable names (a country
    code of three letters, a long name) are suppressed.
    """
    try:
        with warnings.catch_warnings():
            # Only for this module: threads share the filters and can leave this one behind.
            warnings.filterwarnings("ignore", module=re.escape(__name__))
            yield
    except Exception:
        raise ValueError(text) from None
