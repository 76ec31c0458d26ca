"""JSON members as they are stored, decoded one level deep. Unchanged members keep their bytes."""

from __future__ import annotations

from typing import Any

import msgspec

RawMembers = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(RawMembers)
_objects = msgspec.json.Decoder(list[RawMembers])
_any = msgspec.json.Decoder(float_hook=str)
_encoder = msgspec.json.Encoder()


def read(members: bytes) -> RawMembers:
    """Name -> value of members without braces (b'"status":"free",…')."""
    return _object.decode(b"{" + members + b"}")


def write(members: RawMembers) -> bytes:
    """The inverse of `read`."""
    return _encoder.encode(members)[1:-1]


def objects(raw: msgspec.Raw | None) -> list[RawMembers]:
    """The items of a JSON array of objects; empty for None."""
    return [] if raw is None else _objects.decode(raw)


def obj(raw: msgspec.Raw | None) -> RawMembers:
    """The members of a JSON object; empty for None."""
    return {} if raw is None else _object.decode(raw)


def value(raw: msgspec.Raw | None) -> Any:
    """A JSON value for reading; None for None. Do not encode it again: decimals are strings."""
    return None if raw is None else _any.decode(raw)


def raw(value: Any) -> msgspec.Raw:
    """A value, which may contain RawMembers, as JSON."""
    return msgspec.Raw(_encoder.encode(value))
