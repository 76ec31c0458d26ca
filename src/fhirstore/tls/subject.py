"""The subject of a client certificate: its Common Name and Organizational Units, from DER or from a proxy's header."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

from fhirstore.model.messages import Message
from fhirstore.tls.certificates import COMMON_NAME, UNIT, Certificate, read_certificate, read_certificates

_TYPES = {"CN": COMMON_NAME, "COMMONNAME": COMMON_NAME, "OU": UNIT, "ORGANIZATIONALUNITNAME": UNIT}
# `x509.Name.from_rfc4514_string` of cryptography rejects many subjects that proxies send: attribute types without a
# short name (emailAddress, serialNumber) or in lower case, Common Names of more than 64 bytes, and country codes that
# do not have two letters. It does not support the spaces, semicolons, quotation marks and OID. prefixes of RFC 2253. It
# reads #… as text.
_ATTRIBUTE = re.compile(
    r"""
    [ ]*(?: (?P<name>[A-Za-z][A-Za-z0-9-]*) | (?:OID\.|oid\.)?(?P<oid>[0-9]+(?:\.[0-9]+)+) )[ ]*=[ ]*+
    (?: \#(?P<hex>(?:[0-9A-Fa-f]{2})+)
      | "(?P<quoted>(?:[^"\\]|\\.)*+)"
      | (?!\#)(?P<plain>(?: [^\\",+; ] | \\[0-9A-Fa-f]{2} | \\[^0-9A-Za-z] | [ ]++(?![,+;]|\Z) )*+)
    )[ ]*(?P<next>[,+;]|\Z)
    """,
    re.VERBOSE,
)
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
_STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x16: "ascii"}
"""UTF8String, PrintableString, IA5String."""
_BARE = re.compile(r"MII[A-Za-z0-9+/]+=*(?:,|\Z)")
_ONE_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----\s*")
_SEVERAL = Message(
    "it has several values; the proxy must replace the header with the certificate of the client, without its chain"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """The names in a certificate, with exactly one Common Name.

    Several are ambiguous: a header that a client sent and a proxy appended to has two.
    """

    common_name: str
    units: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The subject of a client certificate and, if known, its validity period (UTC)."""

    subject: Subject
    not_before: datetime | None = None
    not_after: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether `now` (an aware datetime) lies within the validity period. An unknown limit counts as met."""
        has_started = self.not_before is None or self.not_before <= now
        return has_started and (self.not_after is None or now <= self.not_after)


@lru_cache(maxsize=256)
def from_der(der: bytes) -> ClientIdentity:
    """The identity in a certificate. Raises ValueError with the reason."""
    return _identity(read_certificate(der))


@lru_cache(maxsize=256)
def from_header(value: str) -> ClientIdentity:
    """The identity in a header value of a proxy.

    The value is one certificate or one subject. A certificate is in the format of RFC 9440 (`:base64:`), PEM with or
    without percent-encoding, or base64 alone. A subject is in the format of RFC 4514 or RFC 2253. Raises ValueError.
    """
    text = value.strip(" ")
    if "\n" in text:  # see serving/heads.py
        raise ValueError(_SEVERAL)
    if len(text) > 1 and text.startswith(":") and text.endswith(":"):
        return from_der(_from_base64(_single(text[1:-1])))
    plain = unquote(text) if "%" in text else text
    if plain.startswith("-----BEGIN"):
        return _of_pem(plain)
    if _BARE.match(plain):
        return from_der(_from_base64(_single(plain)))
    return ClientIdentity(_subject(distinguished_name(text)))


def _of_pem(text: str) -> ClientIdentity:
    found = read_certificates(text.encode("ascii", "replace"))
    if not found:
        raise ValueError(Message("no PEM certificate in it"))
    if not _ONE_PEM.fullmatch(text):
        raise ValueError(_SEVERAL)
    return _identity(found[0])


def _single(text: str) -> str:
    if "," in text:
        raise ValueError(_SEVERAL)
    return text


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as e:
        raise ValueError(Message("not base64: {reason}", reason=e)) from None


def _identity(certificate: Certificate) -> ClientIdentity:
    return ClientIdentity(_subject(certificate.names), certificate.not_before, certificate.not_after)


def _subject(names: Iterable[tuple[str, str]]) -> Subject:
    names = list(names)
    common_names = [text for type, text in names if type == COMMON_NAME]
    if len(common_names) != 1:
        raise ValueError(Message("its subject has {count} Common Names instead of one", count=len(common_names)))
    return Subject(common_names[0], frozenset(text for type, text in names if type == UNIT))


def distinguished_name(text: str) -> list[tuple[str, str]]:
    """(type, text) of each attribute. Common Name and Organizational Unit types are OIDs, others remain as written.

    https://www.rfc-editor.org/rfc/rfc4514. text: UTF-8 decoded as Latin-1, as WSGI passes headers (PEP 3333).
    Raises ValueError.
    """
    if text.startswith("/"):
        raise ValueError(Message("the old OpenSSL format with slashes is not supported; use the format of RFC 2253"))
    return list(_attributes(text))


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    position, has_more = 0, True
    while has_more:
        found = _ATTRIBUTE.match(text, position)
        if found is None:
            raise ValueError(Message("not a distinguished name in the format of RFC 4514"))
        name = found["oid"] or _TYPES.get(found["name"].upper(), found["name"])
        if found["hex"]:
            yield name, _decoded(bytes.fromhex(found["hex"])) if name in _TYPES.values() else f"#{found['hex']}"
        else:
            yield name, _unescaped(found["quoted"] or found["plain"] or "")
        position, has_more = found.end(), bool(found["next"])
        if found["next"] == "," and text.startswith(" ", position):
            # Proxies join the values of a header with a comma and a space. The subjects that they send have no space.
            raise ValueError(_SEVERAL)


def _decoded(der: bytes) -> str:
    """Decodes a DER string with a one-byte length. The library has no stable API for single values."""
    try:
        if len(der) >= 2 and der[1] == len(der) - 2 <= 0x7F:
            return der[2:].decode(_STRINGS[der[0]])
    except (KeyError, UnicodeError):
        pass
    raise ValueError(Message("a name in it is not text"))


def _unescaped(text: str) -> str:
    def one(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if len(found[1]) == 2 else found[1]

    try:
        return _ESCAPED.sub(one, text.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise ValueError(Message("a value in it is not UTF-8")) from None


def same_name(one: str, other: str) -> bool:
    """Compares names without regard to case and repeated spaces.

    https://www.rfc-editor.org/rfc/rfc5280#section-7.1
    """
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
