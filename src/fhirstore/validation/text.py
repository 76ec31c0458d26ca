"""How values and names appear in messages."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from fhirstore.model.messages import Message

MAX_SHOWN = 60
"""Characters of a string from the client that a message repeats."""
MAX_RENDERED = 200
"""Characters of an object or array that a message repeats."""
MAX_LISTED = 25
"""Names that a message lists."""
MAX_COMPARED = 200
"""Names among which `near` searches; with more it suggests nothing."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def describe(value: Any) -> str:
    """A JSON value in a message: short, and without characters that cannot be sent."""
    if type(value) is str:
        text = repr(value[:MAX_SHOWN])
        return (
            Message("the string {text}", text=text)
            if len(value) <= MAX_SHOWN
            else Message("the string {text}… of {count} characters", text=text, count=len(value))
        )
    if value is None or type(value) is bool:
        return {None: "null", True: Message("the boolean true"), False: Message("the boolean false")}[value]
    if type(value) is int:
        return (
            Message("the number {value}", value=value)
            if value.bit_length() < 200
            else Message("a number of {bit_length} bits", bit_length=value.bit_length())
        )
    if type(value) in (Decimal, float):
        return Message("the number {value}", value=str(value)[:MAX_SHOWN])
    return Message("an object") if type(value) is dict else Message("an array")


def render(value: Any) -> str:
    """Like `describe`, but objects and arrays as JSON, truncated."""
    if type(value) not in (dict, list):
        return describe(value)
    text = json.dumps(value, ensure_ascii=True, default=float)
    return text if len(text) <= MAX_RENDERED else text[:MAX_RENDERED] + "…"


def segment(key: str) -> str:
    """`.key` as FHIRPath, in backticks if it is not an identifier."""
    if _IDENTIFIER.fullmatch(key):
        return "." + key
    return ".`" + repr(key[:MAX_SHOWN])[1:-1].replace("`", "\\`") + "`"


def near(name: str, names: Iterable[str]) -> str:
    """The words "; did you mean …?" if one of `names` is similar to `name`, else an empty string."""
    candidates = sorted(names)
    if len(candidates) > MAX_COMPARED:
        return ""
    found = difflib.get_close_matches(name[:MAX_SHOWN], candidates, n=1, cutoff=0.6)
    if not found:
        folded = name.casefold()
        found = [c for c in candidates if c.casefold() == folded]
    return Message("; did you mean {found}?", found=repr(found[0])) if found else ""


def listed(names: Iterable[str]) -> str:
    """The names in order, separated by commas, truncated."""
    ordered = sorted(names)
    if len(ordered) <= MAX_LISTED:
        return ", ".join(ordered)
    return Message("{names}… ({count} in all)", names=ordered[:MAX_LISTED], count=len(ordered))
