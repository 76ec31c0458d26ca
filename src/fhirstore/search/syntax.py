"""The syntax of search values, and the refusals of search parameters. https://hl7.org/fhir/R4/search.html#escaping."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message

PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))
_ESCAPE = re.compile(r"\\([,|$\\])")


class UnknownParameter(Exception):
    """The server does not support the search parameter; the text says why."""


@dataclass(slots=True)
class SearchContext:
    """What the meaning of the values of one search depends on, and their limits.

    zone: completes times without an offset. base: the base URL of the server without a trailing slash, None if unknown.
    max_values: of one parameter. max_chars: of one value. scanned: the number of values so far that are compared with
    all entries of their parameter. max_scanned: its maximum."""

    zone: tzinfo
    base: str | None
    max_values: int
    max_chars: int
    max_scanned: int
    scanned: int = 0


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that are not escaped. Escapes are kept."""
    if "\\" not in text:
        return text.split(separator)
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""`\,` `\|` `\$` `\\` as the characters that they stand for."""
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def prefixed(text: str) -> tuple[str, str]:
    """(prefix, rest). The default prefix is "eq"."""
    return (text[:2], text[2:].strip()) if text[:2] in PREFIXES else ("eq", text)


def invalid(name: str, reason: object) -> FhirError:
    """400 for a parameter whose value or modifier has no meaning."""
    text = Message("The search parameter {name} is invalid: {reason}.", name=name, reason=reason)
    return error(400, "value", text, f"http.{name}")


def beyond_limits(context: SearchContext, name: str, values: Sequence[str]) -> FhirError:
    """422 for values of a parameter that are beyond a limit of the context."""
    if len(values) > context.max_values:
        limit = Message("at most {limit} are allowed (setting max_url_values)", limit=context.max_values)
        return too_costly(name, Message("has {count} values; {limit}", count=len(values), limit=limit))
    longest = max(map(len, values))
    if longest > context.max_chars:
        limit = Message("at most {limit} are allowed (setting max_value_chars)", limit=context.max_chars)
        return too_costly(name, Message("has a value of {count} characters; {limit}", count=longest, limit=limit))
    return too_costly(
        name,
        Message(
            "exceeds the number of values with :contains or :above in one search; at most {limit} are allowed (setting "
            "max_scanned_values)",
            limit=context.max_scanned,
        ),
    )


def too_costly(name: str, reason: str) -> FhirError:
    """422 for a parameter beyond a limit."""
    text = Message("The search parameter {name} {reason}.", name=name[:200], reason=reason)
    return error(422, "too-costly", text, f"http.{name[:200]}")
