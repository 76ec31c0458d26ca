"""Access to JSON of unknown structure by path, for business rules, and the faults that the rules find."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST = 200
"""Characters of a value in a report."""
_REFERENCE = re.compile(r"(?:https?://.*/)?([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")


@dataclass(frozen=True)
class Fault:
    """A violation of a rule. where: FHIRPath in the response, or the name of a header. found, wanted: values or codes,
    independent of language; wanted is empty if the text of the rule says it."""

    where: str
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}" if self.found else self.where
        return f"{text} ≠ {self.wanted}" if self.wanted else text


@dataclass(slots=True, eq=False)
class JsonNode:
    """A JSON value of unknown type with its path. The value of an absent member is None.

    The class is not frozen, because that doubles the time to create an instance, and each write creates dozens."""

    path: str
    value: Any

    def get(self, name: str) -> JsonNode:
        inner = self.value.get(name) if isinstance(self.value, dict) else None
        return JsonNode(f"{self.path}.{name}", inner)

    def each(self, name: str) -> list[JsonNode]:
        """The items of an array member; empty if there is no such array."""
        items = self.value.get(name) if isinstance(self.value, dict) else None
        if not isinstance(items, list):
            return []
        return [JsonNode(f"{self.path}.{name}[{n}]", item) for n, item in enumerate(items)]

    @property
    def text(self) -> str:
        """The string; "" for other types."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def reference(self) -> str:
        return self.get("reference").text

    def codings(self) -> Iterator[tuple[str, str]]:
        """(system, code) of each coding of a CodeableConcept; "" for absent members and other types."""
        items = self.value.get("coding") if isinstance(self.value, dict) else None
        for coding in items if isinstance(items, list) else ():
            if isinstance(coding, dict):
                system, code = coding.get("system"), coding.get("code")
                yield system if isinstance(system, str) else "", code if isinstance(code, str) else ""
            else:
                yield "", ""

    def fault(self, wanted: str = "") -> Fault:
        return Fault(self.path, excerpt(self.value), wanted)


def excerpt(value: Any) -> str:
    """A value as JSON for a report, shortened."""
    text = "∅" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def local(reference: str) -> str:
    """A literal reference as Type/id, without base URL and version; other references unchanged."""
    found = _REFERENCE.fullmatch(reference)
    return found.group(1) if found else reference
