"""JSON that may be anything, with its place: what rules look at, and what they find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST = 200
"""Characters of a value that a report shows."""


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


@dataclass(frozen=True)
class Part:
    """A part of an answer that may be anything, with its path. Absent members have the value None."""

    path: str
    value: Any

    def get(self, name: str) -> Part:
        inner = self.value.get(name) if isinstance(self.value, dict) else None
        return Part(f"{self.path}.{name}", inner)

    def each(self, name: str) -> list[Part]:
        """The items of a repeating member; those of no object too."""
        inner = self.get(name)
        items = inner.value if isinstance(inner.value, list) else []
        return [Part(f"{inner.path}[{n}]", item) for n, item in enumerate(items)]

    @property
    def text(self) -> str:
        """The string; "" for anything else."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def reference(self) -> str:
        return self.get("reference").text

    def codings(self) -> Iterator[tuple[str, str]]:
        """(system, code) of a CodeableConcept."""
        for coding in self.each("coding"):
            yield coding.get("system").text, coding.get("code").text

    def fault(self, wanted: str = "") -> Fault:
        return Fault(self.path, excerpt(self.value), wanted)


def excerpt(value: Any) -> str:
    """A value as a report shows it."""
    text = "∅" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
