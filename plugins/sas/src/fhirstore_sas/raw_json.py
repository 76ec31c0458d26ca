"""JSON members as the store keeps them, opened one level deep: what is not touched keeps its bytes."""

from __future__ import annotations

from typing import Any

import msgspec

RawMembers = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(RawMembers)
_objects = msgspec.json.Decoder(list[RawMembers])
_any = msgspec.json.Decoder(float_hook=str)
_encoder = msgspec.json.Encoder()


def read(members: bytes) -> RawMembers:
    """RawMembers without braces (b'"status":"free",…') by name."""
    return _object.decode(b"{" + members + b"}")


def write(members: RawMembers) -> bytes:
    """The opposite of `read`."""
    return _encoder.encode(members)[1:-1]


def objects(raw: msgspec.Raw | None) -> list[RawMembers]:
    """The items of a JSON array of objects; none for None."""
    return [] if raw is None else _objects.decode(raw)


def obj(raw: msgspec.Raw | None) -> RawMembers:
    """The members of a JSON object; none for None."""
    return {} if raw is None else _object.decode(raw)


def value(raw: msgspec.Raw | None) -> Any:
    """A JSON value to look at (not to write back: fractions arrive as text); None for None."""
    return None if raw is None else _any.decode(raw)


def raw(value: Any) -> msgspec.Raw:
    """A value, RawMembers included, as JSON to put into RawMembers."""
    return msgspec.Raw(_encoder.encode(value))
