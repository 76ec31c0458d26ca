"""The syntax of search values: escapes, lists, prefixes. https://hl7.org/fhir/R4/search.html#escaping."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import tzinfo

from fhirstore.capability.registry import Registry

PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))
_ESCAPE = re.compile(r"\\([,|$\\])")


@dataclass(frozen=True, slots=True)
class SearchContext:
    """What the meaning of a value depends on. zone: completes times without an offset. base: the base URL of the server
    without a trailing slash, None if unknown. limit: the maximum number of values of a parameter."""

    registry: Registry
    zone: tzinfo
    base: str | None
    limit: int


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
