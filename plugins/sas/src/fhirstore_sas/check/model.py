"""What is said about an endpoint: rules, faults, and the findings they make."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fhirstore_sas.json_node import Fault

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
class Exchange:
    """A request and its answer. sent: the body. status None: no answer, `problem` tells why. seconds: until the answer
    was read. is_reached: there was somebody who could answer."""

    method: str
    url: str
    sent: str = ""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0.0
    problem: str = ""
    is_reached: bool = True
    is_utf8: bool = True

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


def visible(text: str) -> str:
    """With escapes for control characters and for what turns the direction of writing: values come from the endpoint,
    and a report is read in terminals and browsers."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in inner for item in items]
    return not level
