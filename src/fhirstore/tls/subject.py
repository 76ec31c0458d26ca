"""Whom a client certificate names: its Common Name and its Organizational Units, from DER or from a proxy's header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import unquote

from fhirstore.tls.der import COMMON_NAME, UNIT, from_base64, pem_blocks, read_certificate, text_of

_TYPES = {"CN": COMMON_NAME, "COMMONNAME": COMMON_NAME, "OU": UNIT, "ORGANIZATIONALUNITNAME": UNIT}
_TYPE = re.compile(r" *(?:([A-Za-z][A-Za-z0-9-]*)|(?:OID\.|oid\.)?([0-9]+(?:\.[0-9]+)+)) *= *")
_HEX = re.compile(r"#((?:[0-9A-Fa-f]{2})+) *")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)" *')
_PLAIN = re.compile(r"(?:[^\\\",+;]|\\[0-9A-Fa-f]{2}|\\[^0-9A-Za-z])*")
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
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
    read = read_certificate(der)
    return Presented(_subject(read.names), read.not_before, read.not_after)


@lru_cache(maxsize=256)
def from_header(value: str) -> Presented:
    """Of what a proxy passes: a certificate as RFC 9440 has it (`:base64:`), as PEM with or without percent-encoding,
    or as the base64 alone; or else the subject as RFC 4514 (and 2253) writes it. Raises ValueError."""
    text = value.strip(" ")
    if len(text) > 1 and text.startswith(":") and text.endswith(":"):
        return from_der(from_base64(text[1:-1].encode("ascii", "replace")))
    plain = unquote(text) if "%" in text else text
    if plain.startswith("-----BEGIN"):
        blocks = pem_blocks(plain.encode("ascii", "replace"), "CERTIFICATE")
        if not blocks:
            raise ValueError("it holds no PEM certificate")
        return from_der(blocks[0])
    if _BARE.fullmatch(plain):
        return from_der(from_base64(plain.partition(",")[0].encode("ascii")))
    return Presented(_subject(distinguished_name(text)))


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
    at = 0
    while True:
        found = _TYPE.match(text, at)
        if found is None:
            raise ValueError("it is no distinguished name of RFC 4514")
        name = found[2] or _TYPES.get(found[1].upper(), found[1])
        value, at = _value(text, found.end())
        yield name, value
        if at == len(text):
            return
        if text[at] not in ",+;":
            raise ValueError("it is no distinguished name of RFC 4514")
        at += 1


def _value(text: str, at: int) -> tuple[str, int]:
    """(the value, where it ends)."""
    if found := _HEX.match(text, at):
        return text_of(bytes.fromhex(found[1])), found.end()
    if found := _QUOTED.match(text, at):
        return _unescaped(found[1]), found.end()
    found = _PLAIN.match(text, at)
    assert found is not None  # it matches nothing too
    value = found[0]
    bare = value.rstrip(" ")
    if len(bare) < len(value) and bare.endswith("\\"):
        bare += " "
    return _unescaped(bare), found.end()


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
