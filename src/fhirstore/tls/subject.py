"""Whom a client certificate names: its Common Name and its Organizational Units, from DER or from a proxy's header."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

from fhirstore.tls.certificates import COMMON_NAME, UNIT, Certificate, read_certificate, read_certificates

_TYPES = {"CN": COMMON_NAME, "COMMONNAME": COMMON_NAME, "OU": UNIT, "ORGANIZATIONALUNITNAME": UNIT}
# `x509.Name.from_rfc4514_string` of cryptography is not enough for what proxies write: it refuses types it has no short
# name for (emailAddress, serialNumber) or that are in small letters, Common Names of more than 64 bytes and countries
# that are no two letters; of RFC 2253 it lacks blanks, semicolons, quotation marks and OID.; and it takes #… for text.
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
_BARE = re.compile(r"MII[A-Za-z0-9+/]+=*(?:,.*)?")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate names. Exactly one Common Name: with several it would not be clear who asks, and a header that
    a client sent and a proxy added to would have two."""

    common_name: str
    units: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Presented:
    """What stands for a client: whom its certificate names, and when it is valid where that is known (UTC)."""

    subject: Subject
    not_before: datetime | None = None
    not_after: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether `now` (with an offset) is within its time."""
        begun = self.not_before is None or self.not_before <= now
        return begun and (self.not_after is None or now <= self.not_after)


@lru_cache(maxsize=256)
def from_der(der: bytes) -> Presented:
    """Of a certificate. Raises ValueError with what is wrong."""
    return _presented(read_certificate(der))


@lru_cache(maxsize=256)
def from_header(value: str) -> Presented:
    """Of what a proxy passes: a certificate as RFC 9440 has it (`:base64:`), as PEM with or without percent-encoding,
    or as the base64 alone; or else the subject as RFC 4514 (and 2253) writes it. Raises ValueError."""
    text = value.strip(" ")
    if len(text) > 1 and text.startswith(":") and text.endswith(":"):
        return from_der(_from_base64(text[1:-1]))
    plain = unquote(text) if "%" in text else text
    if plain.startswith("-----BEGIN"):
        found = read_certificates(plain.encode("ascii", "replace"))
        if not found:
            raise ValueError("it holds no PEM certificate")
        return _presented(found[0])
    if _BARE.fullmatch(plain):
        return from_der(_from_base64(plain.partition(",")[0]))
    return Presented(_subject(distinguished_name(text)))


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as e:
        raise ValueError(f"it is not base64: {e}") from None


def _presented(read: Certificate) -> Presented:
    return Presented(_subject(read.names), read.not_before, read.not_after)


def _subject(names: Iterable[tuple[str, str]]) -> Subject:
    names = list(names)
    common = [text for type, text in names if type == COMMON_NAME]
    if len(common) != 1:
        raise ValueError(f"its subject has {len(common)} Common Names; exactly one is wanted")
    return Subject(common[0], frozenset(text for type, text in names if type == UNIT))


def distinguished_name(text: str) -> list[tuple[str, str]]:
    """(type, text) of each attribute; the types that count here as OIDs, the others as they are written.

    https://www.rfc-editor.org/rfc/rfc4514. Header values come as Latin-1 (PEP 3333) and are UTF-8. Raises ValueError.
    """
    if text.startswith("/"):
        raise ValueError("it is in OpenSSL's old format with slashes; the subject is wanted as RFC 2253 writes it")
    return list(_attributes(text))


def _attributes(text: str) -> Iterator[tuple[str, str]]:
    at, is_more = 0, True
    while is_more:
        found = _ATTRIBUTE.match(text, at)
        if found is None:
            raise ValueError("it is no distinguished name of RFC 4514")
        name = found["oid"] or _TYPES.get(found["name"].upper(), found["name"])
        if found["hex"]:
            yield name, _decoded(bytes.fromhex(found["hex"])) if name in _TYPES.values() else f"#{found['hex']}"
        else:
            yield name, _unescaped(found["quoted"] or found["plain"] or "")
        at, is_more = found.end(), bool(found["next"])


def _decoded(der: bytes) -> str:
    """A string in DER with a length of one byte: own, since the library offers no stable reader of single values."""
    try:
        if len(der) >= 2 and der[1] == len(der) - 2 <= 0x7F:
            return der[2:].decode(_STRINGS[der[0]])
    except (KeyError, UnicodeError):
        pass
    raise ValueError("a name in it is no text")


def _unescaped(text: str) -> str:
    def one(found: re.Match[bytes]) -> bytes:
        return bytes.fromhex(found[1].decode()) if len(found[1]) == 2 else found[1]

    try:
        return _ESCAPED.sub(one, text.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise ValueError("a value in it is not UTF-8") from None


def same_name(one: str, other: str) -> bool:
    """https://www.rfc-editor.org/rfc/rfc5280#section-7.1: without regard to case and to how many blanks there are."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
