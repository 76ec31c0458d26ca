"""What is said about an endpoint: rules, faults, and the findings they make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LONGEST = 200
"""Characters of a value that a report shows."""
DEEPEST = 100
"""Levels of JSON beyond which an answer is none."""
SHOWN = 5
"""Faults of one rule and one request that a report shows; all are counted."""


@dataclass(frozen=True)
class Rule:
    """id: stable, for the user's own exceptions. spec: paragraph of the specification dossier. severity: error (the
    platform or the test kit refuses) | warning. kit: tests of the official kit that fail with it. Its texts stand in
    `texts`, by id."""

    id: str
    spec: str
    severity: str = "error"
    kit: tuple[str, ...] = ()


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
class Exchange:
    """A request and its answer. sent: the body. status None: no answer, `problem` tells why. seconds: until the answer
    was read."""

    method: str
    url: str
    sent: str = ""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0.0
    problem: str = ""

    @property
    def request(self) -> str:
        return f"{self.method} {self.url}"

    def json(self) -> Any:
        """The body; None when it is no JSON, or nested beyond all reason."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return found if _is_shallow(found) else None

    def refused(self) -> bool:
        return self.status is not None and 400 <= self.status < 600


@dataclass(frozen=True)
class Occurrence:
    """Where a rule was broken: the first faults of one answer, and how many there are."""

    exchange: Exchange
    faults: tuple[Fault, ...]
    count: int


@dataclass(frozen=True)
class Finding:
    rule: Rule
    occurrences: tuple[Occurrence, ...]

    @property
    def count(self) -> int:
        return sum(o.count for o in self.occurrences)


@dataclass(frozen=True)
class Report:
    """started: instant. passed: rules that were checked and kept. skipped: rules not checked -> why (the name of a
    reason in `texts`)."""

    target: str
    started: str
    findings: tuple[Finding, ...]
    passed: tuple[Rule, ...]
    skipped: tuple[tuple[Rule, str], ...]


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


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in inner for item in items]
    return not level


def excerpt(value: Any) -> str:
    """A value as a report shows it."""
    text = "∅" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
