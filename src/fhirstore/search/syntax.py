"""The syntax of search values, and the refusals of search parameters. https://hl7.org/fhir/R4/search.html#escaping."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import tzinfo

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message

PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))
_ESCAPE = re.compile(r"\\([,|$\\])")


class UnknownParameter(Exception):
    """The server does not support the search parameter; the text says why."""


@dataclass(frozen=True, slots=True)
class SearchContext:
    """What the meaning of a value depends on. zone: completes times without an offset. base: the base URL of the server
    without a trailing slash, None if unknown. max_values: the maximum number of values of a parameter."""

    zone: tzinfo
    base: str | None
    max_values: int


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


def too_costly(name: str, reason: str) -> FhirError:
    """422 for a parameter beyond a limit."""
    text = Message("The search parameter {name} {reason}.", name=name[:200], reason=reason)
    return error(422, "too-costly", text, f"http.{name[:200]}")
