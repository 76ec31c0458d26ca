"""The JSON of resources: https://hl7.org/fhir/R4/json.html.

`parse` is strict: it refuses duplicate keys and keeps decimals exact. The store keeps a resource in two parts, meta and
body, that `split` makes; `compose` joins them to the JSON of the resource without parsing them. Property order is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message


def _plain(value: object) -> str:
    """Converts subclasses of str, such as `Message`, which msgspec does not accept."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain)
dumps = _encoder.encode

# Matches from each quote on, also if the string has no end: the scan of a body visits each byte once.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Duplicate(ValueError):
    def __init__(self, key: str):
        super().__init__(key)
        self.key = key


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Duplicate(key)
            seen.add(key)
    return out


def _constant(text: str) -> NoReturn:
    raise ValueError(Message("{text} is not a JSON number", text=text))


def _decimal(text: str) -> Decimal:
    value = Decimal(text)
    if abs(value.adjusted()) > 999:
        raise ValueError(Message("the number {text} is out of range", text=text[:40]))
    return value


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_decimal, parse_constant=_constant)


def _depth(raw: bytes) -> int:
    """The deepest nesting of arrays and objects."""
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", raw)):
        if bracket in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _refused(text: str) -> FhirError:
    return error(400, "structure", text)


def parse(raw: bytes, max_nesting: int) -> dict[str, Any]:
    """The JSON object in `raw` (UTF-8). Numbers with a fraction or exponent become Decimal, the others int.

    Raises FhirError: 400 for what is not a JSON object (with line and column), 422 beyond `max_nesting`.
    """
    if not raw.strip():
        raise _refused(Message("The body is empty. Send a JSON object with a resourceType."))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise _refused(Message("The body is not UTF-8: byte {start} is not valid.", start=e.start)) from None
    _check_nesting(raw, max_nesting)
    if text.startswith("\ufeff"):
        text = text[1:]
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as e:
        raise _refused(
            Message("Not JSON at line {line}, column {column}: {reason}.", line=e.lineno, column=e.colno, reason=e.msg)
        ) from None
    except _Duplicate as e:
        raise _refused(
            Message("The property {key} stands twice in one JSON object; give it once.", key=repr(e.key[:100]))
        ) from None
    except (ValueError, ArithmeticError) as e:
        raise _refused(Message("Not JSON: {reason}", reason=e)) from None
    if not isinstance(value, dict):
        raise _refused(Message("The body is a JSON value. Send a JSON object with a resourceType."))
    if b"\\u" in raw and (found := _SURROGATE.search(_flat(value))):
        raise _refused(
            Message(
                "A string holds the lone surrogate U+{found}, which is not a character.",
                found=format(ord(found[0]), "04X"),
            )
        )
    return value


def _check_nesting(raw: bytes, max_nesting: int) -> None:
    # The exact depth is computed only if there are more opening brackets than the limit.
    if raw.count(b"{") + raw.count(b"[") > max_nesting and (depth := _depth(raw)) > max_nesting:
        text = Message(
            "The JSON is nested {depth} deep; at most {max_nesting} (setting max_nesting).",
            depth=depth,
            max_nesting=max_nesting,
        )
        raise error(422, "too-costly", text)


def _flat(value: object) -> str:
    """All text of a JSON value, keys included; characters above the BMP are whole by then."""
    return json.dumps(value, ensure_ascii=False, default=str)


def members(value: Mapping[str, Any]) -> bytes:
    """The members of a JSON object without its braces: b'"status":"free","start":…'."""
    return dumps(value)[1:-1]


# --- stored parts -------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SERVER_META = frozenset(("versionId", "lastUpdated", "_versionId", "_lastUpdated"))
_HEAD = frozenset(("resourceType", "id", "meta"))


def split(resource: dict[str, Any]) -> tuple[bytes, bytes]:
    """(meta, body) as `Stored` keeps them: meta without versionId and lastUpdated, body without resourceType,
    id and meta; both JSON members without braces, in the sender's property order."""
    meta = resource.get("meta")
    kept = {k: v for k, v in meta.items() if k not in _SERVER_META} if isinstance(meta, dict) else {}
    body = {k: v for k, v in resource.items() if k not in _HEAD}
    return members(kept), members(body)


def compose_parts(type: str, id: str, version: int, updated: int, meta: bytes, body: bytes) -> bytes:
    """The JSON of a resource from its parts."""
    head = f'{{"resourceType":"{type}","id":"{id}","meta":{{"versionId":"{version}","lastUpdated":"{instant(updated)}"'
    return b"".join((head.encode(), b"," if meta else b"", meta, b"}," if body else b"}", body, b"}"))


def compose(stored: Any) -> bytes:
    """The JSON of a stored version (anything with the fields of `model.stored.Stored`)."""
    return compose_parts(stored.type, stored.id, stored.version, stored.updated, stored.meta, stored.body)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def instant(microseconds: int) -> str:
    """Microseconds since 1970 as a FHIR instant in UTC: 2026-11-23T10:00:00.000Z."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest // 1000:03d}Z"


def http_date(microseconds: int) -> str:
    """Microseconds since 1970 as an HTTP date (Last-Modified), rounded down to the second."""
    return format_datetime(_EPOCH + timedelta(seconds=microseconds // 1_000_000), usegmt=True)
