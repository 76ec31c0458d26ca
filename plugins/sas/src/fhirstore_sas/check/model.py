"""The data of a check: rules, requests with their responses, and the results that make the report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fhirstore_sas.rules import Fault

MAX_DEPTH = 100
"""Levels of nested JSON. A deeper body counts as no JSON."""
MAX_SHOWN_FAULTS = 5
"""Faults of one rule and one request that a report shows. All are counted."""


@dataclass(frozen=True)
class CheckRule:
    """id: stable, so that users can list exceptions. spec: paragraphs of the specification dossier. severity: error
    (the platform or the test kit refuses) | warning. kit: tests of the official kit that fail along with the rule.
    `texts.RULES` has its texts by id."""

    id: str
    spec: str
    severity: str = "error"
    kit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exchange:
    """A request and its response. sent: the body of the request. status: None if there is no response; `problem` has
    the reason. seconds: until the response was read. is_reachable: whether a connection was made."""

    method: str
    url: str
    sent: str = ""
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    seconds: float = 0.0
    problem: str = ""
    is_reachable: bool = True
    is_utf8: bool = True

    @property
    def request(self) -> str:
        return f"{self.method} {self.url}"

    def json(self) -> Any:
        """The body; None if it is not JSON or is nested more than MAX_DEPTH deep."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        return found if _is_shallow(found) else None

    def refused(self) -> bool:
        return self.status is not None and 400 <= self.status < 600


@dataclass(frozen=True)
class Occurrence:
    """A response that breaks a rule: its first faults, and the number of all."""

    exchange: Exchange
    faults: tuple[Fault, ...]
    count: int


@dataclass(frozen=True)
class RuleFinding:
    rule: CheckRule
    occurrences: tuple[Occurrence, ...]

    @property
    def count(self) -> int:
        return sum(o.count for o in self.occurrences)


@dataclass(frozen=True)
class CheckReport:
    """started: an instant. passed: rules that were checked and not broken. skipped: rules that were not checked, each
    with the reason, a key of `texts.REASONS`."""

    target: str
    started: str
    findings: tuple[RuleFinding, ...]
    passed: tuple[CheckRule, ...]
    skipped: tuple[tuple[CheckRule, str], ...]


class CheckResults:
    """rules: all rules by id, in the order of the report."""

    def __init__(self, rules: Mapping[str, CheckRule]):
        self._rules = rules
        self._found: dict[str, list[Occurrence]] = {}
        self._checked: set[str] = set()
        self._skipped: dict[str, str] = {}
        self._default_reason = "no-answer"

    def note(self, id: str, exchange: Exchange, faults: Iterable[Fault] = ()) -> bool:
        """Records that a rule was checked on a response. Returns True if there are no faults."""
        found = tuple(faults)
        self._checked.add(self._rules[id].id)
        if found:
            without_body = replace(exchange, text="")  # reports do not show the body, which can be large
            self._found.setdefault(id, []).append(Occurrence(without_body, found[:MAX_SHOWN_FAULTS], len(found)))
        return not found

    def skip(self, reason: str, *ids: str) -> None:
        """Records that rules cannot be checked. reason: a key of `texts.REASONS`."""
        for id in ids:
            self._skipped[self._rules[id].id] = reason

    def stop(self, reason: str) -> None:
        """Sets the reason for all rules that have not been checked yet."""
        self._default_reason = reason

    def report(self, target: str, started: str) -> CheckReport:
        """Rules that were never checked are skipped, with the reason passed to `skip`, else that of `stop`, else
        `no-answer`."""
        rules = self._rules.values()
        return CheckReport(
            target,
            started,
            tuple(RuleFinding(r, tuple(self._found[r.id])) for r in rules if r.id in self._found),
            tuple(r for r in rules if r.id in self._checked and r.id not in self._found),
            tuple((r, self._skipped.get(r.id, self._default_reason)) for r in rules if r.id not in self._checked),
        )


def printable(text: str) -> str:
    """The text with escapes for control characters and for characters that change the direction of writing, because
    terminals and browsers show values of the endpoint."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in inner for item in items]
    return not level
