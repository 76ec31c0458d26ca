"""JSON as FHIR wants it: https://hl7.org/fhir/R4/json.html.

Read strictly (duplicate keys refused, decimals exact), write fast. Property order is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
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

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
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
