"""The pieces of a search value: escapes, lists, prefixes. https://hl7.org/fhir/R4/search.html#escaping."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from fhirstore.capability.registry import Registry
from fhirstore.model.conditions import Condition, Or

PREFIXES = frozenset(("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"))
_ESCAPE = re.compile(r"\\([,|$\\])")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the meaning of a value depends on. zone completes times without offset. base: the server's own base URL
    without a slash at its end, None = unknown. limit: how many values one parameter may have."""

    registry: Registry
    zone: tzinfo
    base: str | None
    limit: int


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that are not escaped; escapes are kept."""
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
    r"""`\,` `\|` `\$` `\\` as the characters they stand for."""
    return _ESCAPE.sub(r"\1", text) if "\\" in text else text


def prefixed(text: str) -> tuple[str, str]:
    """(prefix, rest); without a prefix it is "eq"."""
    return (text[:2], text[2:].strip()) if text[:2] in PREFIXES else ("eq", text)


def any_of(conditions: Sequence[Condition]) -> Condition:
    """One of them holds."""
    return conditions[0] if len(conditions) == 1 else Or(tuple(conditions))
