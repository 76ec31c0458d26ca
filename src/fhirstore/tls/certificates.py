"""What the server must know of certificates and revocation lists (https://www.rfc-editor.org/rfc/rfc5280).

OpenSSL verifies them; this reads, with `cryptography`, who is named and until when something is valid. The library is
imported where it is used: a server without TLS does without it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

COMMON_NAME, UNIT = "2.5.4.3", "2.5.4.11"

_CERTIFICATE, _LIST = b"-----BEGIN CERTIFICATE-----", b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True, slots=True)
class Certificate:
    """names: (OID, text) of each attribute of the subject, in its order. The times are in UTC."""

    der: bytes
    names: tuple[tuple[str, str], ...]
    issuer: x509.Name
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class RevocationList:
    """next_update: in UTC, None = not said."""

    pem: bytes
    issuer: x509.Name
    next_update: datetime | None


def read_certificate(der: bytes) -> Certificate:
    """Raises ValueError with what is wrong."""
    from cryptography import x509

    with _refusing("it is no X.509 certificate"):
        loaded = x509.load_der_x509_certificate(der)
    return _certificate(loaded)


def read_certificates(pem: bytes) -> list[Certificate]:
    """Those of a file in PEM, which may hold more; empty = there is none. Raises ValueError with what is wrong."""
    from cryptography import x509

    with _refusing("it is no X.509 certificate"):
        loaded = [x509.load_pem_x509_certificate(block) for block in _blocks(_CERTIFICATE, pem)]
    return [_certificate(one) for one in loaded]


def read_revocation_lists(data: bytes) -> list[RevocationList]:
    """Those of a file in PEM, which may hold more, or the one of a file in DER; empty = PEM without any. Raises
    ValueError with what is wrong."""
    from cryptography import x509

    with _refusing("it is no X.509 revocation list"):
        if b"-----BEGIN" not in data:
            return [_revocation_list(x509.load_der_x509_crl(data))]
        return [_revocation_list(x509.load_pem_x509_crl(block)) for block in _blocks(_LIST, data)]


def _blocks(begin: bytes, data: bytes) -> list[bytes]:
    """What begins so, up to the next. The library has no reader of several lists, and its reader of several
    certificates passes over a last one that is cut off, as in a file that is just being written."""
    return [begin + rest for rest in data.split(begin)[1:]]


def _certificate(loaded: x509.Certificate) -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding

    with _refusing("a name or a time in it cannot be read"):
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
def _refusing(text: str) -> Iterator[None]:
    """Whatever the library raises becomes a ValueError: for damaged data that is InvalidVersion, TypeError and others
    too. It warns of what is unusual (a country of three letters, a long name); that counts here as it is."""
    try:
        with warnings.catch_warnings():
            # For this module only: threads share the filters, and may leave this one behind.
            warnings.filterwarnings("ignore", module=re.escape(__name__))
            yield
    except Exception:
        raise ValueError(text) from None
