"""https://hl7.org/fhir/R4/datatypes.html#primitive: the JSON format of the primitive types.

The regular expressions are those of the specification, with the stricter rules of its text: real calendar dates, 32-bit
integers, no control characters, no white space around codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, single_error, wrong_json
from fhirstore.validation.text import describe, listed, near
from fhirstore.validation.value_checks import (
    Check,
    StructureScope,
    boolean_check,
    decimal_check,
    integer_check,
    string_check,
    text_check,
    uri_check,
)

MAX_STRING = 1024 * 1024
"""Characters of a string or markdown: https://hl7.org/fhir/R4/datatypes.html#string."""

_YEAR = r"(?!0000)[0-9]{4}"
_LEAP_YEAR = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?!0000)(?:[02468][048]|[13579][26])00)"
_DAY = (  # exactly the days of the calendar
    rf"(?:{_YEAR}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    rf"|{_LEAP_YEAR}-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_VISIBLE = r"[^\x00-\x20\ud800-\udfff]+"  # \S as in XML Schema and Java
_PARTIAL = rf"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?"

_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_DIV = re.compile(r"\s*<div(?=[\s/>])(?s:.*)(?:</div\s*>|/>)\s*\Z")
_DAY_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
_REAL_DAY = re.compile(_DAY)
_WITHOUT_ZONE = re.compile(rf"{_DAY}T{_TIME}")

_PATTERNS: Mapping[str, tuple[str, str]] = {
    "code": (
        rf"{_VISIBLE}(?: {_VISIBLE})*",
        Message("a code: no white space at its ends, single spaces inside"),
    ),
    "id": (r"[A-Za-z0-9\-.]{1,64}", Message("an id: 1 to 64 of the characters A-Z a-z 0-9 - .")),
    "oid": (r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", Message("an OID such as urn:oid:1.2.250.1")),
    "uuid": (
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        Message("a UUID in lower case such as urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    ),
    "date": (rf"{_DAY}|{_PARTIAL}", Message("a date: YYYY, YYYY-MM or YYYY-MM-DD")),
    "dateTime": (
        rf"{_DAY}(?:T{_TIME}{_ZONE})?|{_PARTIAL}",
        Message("a dateTime: YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with a time zone (Z or +hh:mm)"),
    ),
    "instant": (
        rf"{_DAY}T{_TIME}{_ZONE}",
        Message("an instant: YYYY-MM-DDThh:mm:ss.sss with a time zone (Z or +hh:mm)"),
    ),
    "time": (_TIME, Message("a time: hh:mm:ss")),
}
_CODE = re.compile(_PATTERNS["code"][0])
_INTEGERS: Mapping[str, tuple[int, int]] = {
    "integer": (-(2**31), 2**31 - 1),
    "unsignedInt": (0, 2**31 - 1),
    "positiveInt": (1, 2**31 - 1),
}


def _textual_error(value: Any) -> IssueList | None:
    """The error of a value of any textual type. None if it is a string without control characters."""
    if type(value) is not str:
        return wrong_json(value, Message("a string"))
    if not value:
        return single_error("value", Message("the string is empty; omit the property if it has no value"))
    if bad := _UNSENDABLE.search(value):
        return single_error(
            "value",
            Message(
                "the string contains the character U+{code_point} at index {start}; the only control "
                "characters allowed are tab, CR and LF",
                code_point=format(ord(bad[0]), "04X"),
                start=bad.start(),
            ),
        )
    return None


def _string_error(value: Any) -> IssueList | None:
    if type(value) is str and len(value) > MAX_STRING:
        return single_error(
            "too-long",
            Message(
                "the string has {count} characters; at most {max_string} are allowed",
                count=len(value),
                max_string=MAX_STRING,
            ),
        )
    return _textual_error(value)


def _uri(name: str) -> Check:
    def error(value: Any) -> IssueList | None:
        return _textual_error(value) or single_error(
            "value", Message("{value} is not a {name}: white space is not allowed", value=describe(value), name=name)
        )

    return uri_check(re.compile(_VISIBLE).fullmatch, error)


def _pattern(name: str) -> Check:
    return text_check(re.compile(_PATTERNS[name][0]).fullmatch, lambda value: _pattern_error(value, name))


def _pattern_error(value: Any, name: str) -> IssueList:
    """The error of a value that the pattern of a type does not match."""
    expected = _PATTERNS[name][1]
    return _textual_error(value) or single_error(
        "value",
        Message("{value} is not {expected}{hint}", value=describe(value), expected=expected, hint=_hint(value)),
    )


def _hint(text: str) -> str:
    """The reason why a date is invalid, if it is not obvious."""
    if _DAY_SHAPE.match(text) and not _REAL_DAY.match(text):
        return Message("; {text} is not a day of the calendar", text=text[:10])
    if _WITHOUT_ZONE.fullmatch(text):
        return Message("; the time zone is missing")
    return ""


def _integer(name: str) -> Check:
    low, high = _INTEGERS[name]
    expected = Message(
        "a whole number without decimal point from {low} to {high} ({name})", low=low, high=high, name=name
    )

    def error(value: Any) -> IssueList:
        if type(value) in (int, float, Decimal):
            return single_error("value", Message("{value} is not {expected}", value=describe(value), expected=expected))
        return wrong_json(value, expected)

    return integer_check(low, high, error)


def _decimal_error(value: Any) -> IssueList | None:
    if type(value) is Decimal or type(value) is float:
        finite = value.is_finite() if type(value) is Decimal else isfinite(value)
        return None if finite else single_error("value", Message("{value} is not a decimal", value=describe(value)))
    return wrong_json(value, Message("a decimal number without quotes"))


def _boolean_error(value: Any) -> IssueList:
    return wrong_json(value, Message("a boolean (true or false without quotes)"))


def _base64(value: Any, scope: StructureScope) -> IssueList | None:
    if type(value) is str and value:
        text = "".join(value.split())
        if text and len(text) % 4 == 0 and _BASE64.fullmatch(text):
            return None
    text = Message("{value} is not base64: groups of four characters, padded with =", value=describe(value))
    return _textual_error(value) or single_error("value", text)


def _xhtml(value: Any, scope: StructureScope) -> IssueList | None:
    wrong = _textual_error(value)
    if wrong is not None or _DIV.match(value):
        return wrong
    return single_error("value", Message("{value} is not XHTML in a single <div> element", value=describe(value)))


_string = string_check(MAX_STRING, _UNSENDABLE.search, _string_error)

PRIMITIVES: Mapping[str, Check] = {
    "boolean": boolean_check(_boolean_error),
    "decimal": decimal_check(_decimal_error),
    "string": _string,
    "markdown": _string,
    "base64Binary": _base64,
    "xhtml": _xhtml,
    **{name: _uri(name) for name in ("uri", "url", "canonical")},
    **{name: _pattern(name) for name in _PATTERNS},
    **{name: _integer(name) for name in _INTEGERS},
}
"""The check of each primitive type, by its name."""


def code_with_grammar(value_set: str, is_valid: Callable[[str], bool], system: str) -> Check:
    """The check of a code of a code system with a grammar: see `terminology.grammar`."""

    def error(value: Any) -> IssueList:
        if wrong := _code_error(value):
            return wrong
        shown = describe(value)
        text = Message(
            "{shown} is not a code of the required value set {value_set}: it does not follow the grammar of {system}",
            shown=shown,
            value_set=value_set,
            system=system,
        )
        return single_error("code-invalid", text)

    return text_check(is_valid, error)


def code_in(codes: frozenset[str], value_set: str) -> Check:
    """The check of a code that must be one of `codes`: https://hl7.org/fhir/R4/terminologies.html#required."""

    def error(value: Any) -> IssueList:
        if wrong := _code_error(value):
            return wrong
        shown, like = describe(value), near(value, codes)
        text = Message(
            "{shown} is not a code of the required value set {value_set}; expected: {codes}{like}",
            shown=shown,
            value_set=value_set,
            codes=listed(codes),
            like=like,
        )
        return single_error("code-invalid", text)

    return text_check(codes.__contains__, error)


def _code_error(value: Any) -> IssueList | None:
    """The error of a value that is no code at all."""
    return None if type(value) is str and _CODE.fullmatch(value) else _pattern_error(value, "code")
