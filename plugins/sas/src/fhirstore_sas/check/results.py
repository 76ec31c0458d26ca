"""Collects the results of a check: which rules were checked, on which requests, and their faults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fhirstore_sas.check.model import MAX_SHOWN_FAULTS, CheckReport, CheckRule, Exchange, Occurrence, RuleFinding
from fhirstore_sas.json_node import Fault


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
