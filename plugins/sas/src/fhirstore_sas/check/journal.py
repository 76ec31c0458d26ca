"""Keeps which rules were checked, on which request, and what was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fhirstore_sas.check.model import SHOWN, Exchange, Finding, Occurrence, Report, Rule
from fhirstore_sas.json_node import Fault


class Journal:
    """rules: all there are, by id, in the order of the report."""

    def __init__(self, rules: Mapping[str, Rule]):
        self._rules = rules
        self._found: dict[str, list[Occurrence]] = {}
        self._checked: set[str] = set()
        self._skipped: dict[str, str] = {}
        self._otherwise = "no-answer"

    def note(self, id: str, exchange: Exchange, faults: Iterable[Fault] = ()) -> bool:
        """A rule was checked on an answer; True when it was kept."""
        found = tuple(faults)
        self._checked.add(self._rules[id].id)
        if found:
            kept = replace(exchange, text="")  # reports do not show it, and it may be large
            self._found.setdefault(id, []).append(Occurrence(kept, found[:SHOWN], len(found)))
        return not found

    def skip(self, reason: str, *ids: str) -> None:
        """Rules that cannot be checked here. reason: its name in `texts`."""
        for id in ids:
            self._skipped[self._rules[id].id] = reason

    def give_up(self, reason: str) -> None:
        """What has not been checked by now will not be, for this reason."""
        self._otherwise = reason

    def report(self, target: str, started: str) -> Report:
        """What was never checked is skipped, with the reason `no-answer`, or that of `give_up`, unless one was
        given."""
        rules = self._rules.values()
        return Report(
            target,
            started,
            tuple(Finding(r, tuple(self._found[r.id])) for r in rules if r.id in self._found),
            tuple(r for r in rules if r.id in self._checked and r.id not in self._found),
            tuple((r, self._skipped.get(r.id, self._otherwise)) for r in rules if r.id not in self._checked),
        )
