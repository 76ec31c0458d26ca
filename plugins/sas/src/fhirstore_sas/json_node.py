"""JSON that may be anything, with its place: what rules look at, and what they find."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST = 200
"""Characters of a value that a report shows."""
_REFERENCE = re.compile(r"(?:https?://.*/)?([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/.*)?")


@dataclass(frozen=True)
class Fault:
    """Something wrong. where: place in the answer (FHIRPath, or the name of a header); found and wanted: values or
    codes, in no language; wanted may be empty, the rule says it then."""

    where: str
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}" if self.found else self.where
        return f"{text} ≠ {self.wanted}" if self.wanted else text


@dataclass(slots=True, eq=False)
class JsonNode:
    """A part of a resource that may be anything, with its path. Absent members have the value None.

    Not frozen, which would double the time to make one: writes make dozens."""

    path: str
    value: Any

    def get(self, name: str) -> JsonNode:
        inner = self.value.get(name) if isinstance(self.value, dict) else None
        return JsonNode(f"{self.path}.{name}", inner)

    def each(self, name: str) -> list[JsonNode]:
        """The items of a repeating member; those of no object too."""
        items = self.value.get(name) if isinstance(self.value, dict) else None
        if not isinstance(items, list):
            return []
        return [JsonNode(f"{self.path}.{name}[{n}]", item) for n, item in enumerate(items)]

    @property
    def text(self) -> str:
        """The string; "" for anything else."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def reference(self) -> str:
        return self.get("reference").text

    def codings(self) -> Iterator[tuple[str, str]]:
        """(system, code) of a CodeableConcept; "" for what is absent or no string."""
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
    """A value as a report shows it."""
    text = "∅" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def local(reference: str) -> str:
    """A literal reference as Type/id, without the base of the server and without version; others as they are."""
    found = _REFERENCE.fullmatch(reference)
    return found.group(1) if found else reference
