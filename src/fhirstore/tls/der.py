"""What the server must know of certificates and revocation lists, read from DER (https://www.rfc-editor.org/rfc/rfc5280).

OpenSSL verifies them; this reads who is named, and until when something is valid. What is not well-formed is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

MOST = 64 * 1024
"""Bytes of a certificate beyond: refused."""

_SEQUENCE, _SET, _OID, _INTEGER, _VERSION = 0x30, 0x31, 0x06, 0x02, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_TEXTS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
COMMON_NAME, UNIT = "2.5.4.3", "2.5.4.11"

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Certificate:
    """names: (OID, text) of each attribute of the subject, in its order. subject, issuer: their names in DER. The times
    are in UTC."""

    names: tuple[tuple[str, str], ...]
    subject: bytes
    issuer: bytes
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class RevocationList:
    """issuer: its name in DER. next_update: None = not said."""

    issuer: bytes
    next_update: datetime | None


def pem_blocks(data: bytes, *kinds: str) -> list[bytes]:
    """The DER of the PEM blocks of these kinds ("CERTIFICATE", "X509 CRL"). Raises ValueError for bad base64."""
    found = ((m[1].decode("ascii"), m[2]) for m in _PEM.finditer(data))
    return [from_base64(text) for kind, text in found if kind in kinds]


def from_base64(text: bytes) -> bytes:
    """Raises ValueError."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as e:
        raise ValueError(f"it is not base64: {e}") from None


def read_certificate(der: bytes) -> Certificate:
    """Raises ValueError."""
    if len(der) > MOST:
        raise ValueError(f"it is larger than {MOST} bytes")
    fields = _fields(der, _SEQUENCE)
    if fields and fields[0][0] == _VERSION:
        fields = fields[1:]
    if len(fields) < 6 or [f[0] for f in fields[:5]] != [_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE]:
        raise ValueError("it is no X.509 certificate")
    _, _, (_, _, issuer), (_, validity, _), (_, subject, whole) = fields[:5]
    times = [_time(tag, content) for tag, content, _ in _elements(validity)]
    if len(times) != 2:
        raise ValueError("its validity cannot be read")
    return Certificate(tuple(_names(subject)), whole, issuer, times[0], times[1])


def read_revocation_list(der: bytes) -> RevocationList:
    """Raises ValueError."""
    fields = _fields(der, _SEQUENCE)
    if fields and fields[0][0] == _INTEGER:
        fields = fields[1:]
    if len(fields) < 3 or [f[0] for f in fields[:2]] != [_SEQUENCE, _SEQUENCE] or fields[2][0] not in _TIMES:
        raise ValueError("it is no X.509 revocation list")
    following = fields[3] if len(fields) > 3 else None
    next_update = _time(following[0], following[1]) if following and following[0] in _TIMES else None
    return RevocationList(fields[1][2], next_update)


_TIMES = (_UTC_TIME, _GENERALIZED_TIME)


def text_of(der: bytes) -> str:
    """A single string of any kind, as text. Raises ValueError."""
    (only,) = list(_elements(der))
    return _text(only[0], only[1])


def _fields(der: bytes, wanted: int) -> list[tuple[int, bytes, bytes]]:
    """The elements of the signed part of a certificate or list."""
    outer = list(_elements(der))
    if len(outer) != 1 or outer[0][0] != wanted:
        raise ValueError("it is not DER of one sequence")
    signed = next(_elements(outer[0][1]), None)
    if signed is None or signed[0] != wanted:
        raise ValueError("it holds no signed part")
    return list(_elements(signed[1]))


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(tag, content, tag and length and content) of each element. Raises ValueError."""
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise ValueError("it is cut off")
        tag, length, begin = data[at], data[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or begin + size > len(data):
                raise ValueError("a length in it cannot be read")
            length = int.from_bytes(data[begin : begin + size], "big")
            begin += size
        end = begin + length
        if end > len(data):
            raise ValueError("it is cut off")
        yield tag, data[begin:end], data[at:end]
        at = end


def _names(subject: bytes) -> Iterator[tuple[str, str]]:
    for tag, members, _ in _elements(subject):
        if tag != _SET:
            raise ValueError("its subject cannot be read")
        for _, pair, _ in _elements(members):
            parts = list(_elements(pair))
            if len(parts) != 2 or parts[0][0] != _OID:
                raise ValueError("its subject cannot be read")
            name = _oid(parts[0][1])
            if parts[1][0] in _TEXTS:
                yield name, _text(parts[1][0], parts[1][1])
            elif name in (COMMON_NAME, UNIT):
                raise ValueError("a name in its subject is no text")


def _text(tag: int, content: bytes) -> str:
    if tag not in _TEXTS:
        raise ValueError("a name in it is no text")
    return content.decode(_TEXTS[tag])


def _oid(content: bytes) -> str:
    numbers, current = [], 0
    for byte in content:
        current = current << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(current)
            current = 0
    if not numbers or content[-1] & 0x80:
        raise ValueError("a type in its subject cannot be read")
    first = min(numbers[0] // 40, 2)
    return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def _time(tag: int, content: bytes) -> datetime:
    """https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5: UTC, to the second."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("a time in it cannot be read")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
