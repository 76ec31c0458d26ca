"""JSON members as the store keeps them, opened one level deep: what is not touched keeps its bytes."""

from __future__ import annotations

from typing import Any

import msgspec

Members = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(Members)
_objects = msgspec.json.Decoder(list[Members])
_any = msgspec.json.Decoder(float_hook=str)
_encoder = msgspec.json.Encoder()


def read(members: bytes) -> Members:
    """Members without braces (b'"status":"free",…') by name."""
    return _object.decode(b"{" + members + b"}")


def write(members: Members) -> bytes:
    """The opposite of `read`."""
    return _encoder.encode(members)[1:-1]


def objects(raw: msgspec.Raw | None) -> list[Members]:
    """The items of a JSON array of objects; none for None."""
    return [] if raw is None else _objects.decode(raw)


def obj(raw: msgspec.Raw | None) -> Members:
    """The members of a JSON object; none for None."""
    return {} if raw is None else _object.decode(raw)


def value(raw: msgspec.Raw | None) -> Any:
    """A JSON value to look at (not to write back: fractions arrive as text); None for None."""
    return None if raw is None else _any.decode(raw)


def raw(value: Any) -> msgspec.Raw:
    """A value, Members included, as JSON to put into Members."""
    return msgspec.Raw(_encoder.encode(value))
