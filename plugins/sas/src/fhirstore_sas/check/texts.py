"""The words of a report in one language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhirstore_sas.check import english, french
from fhirstore_sas.check.model import Rule


@dataclass(frozen=True)
class Texts:
    """language: its code. rules: id -> (what is wrong, what to do)."""

    language: str
    rules: Mapping[str, tuple[str, str]]
    reasons: Mapping[str, str]
    headings: Mapping[str, str]

    def title(self, rule: Rule) -> str:
        return self.rules[rule.id][0]

    def remedy(self, rule: Rule) -> str:
        return self.rules[rule.id][1]


LANGUAGES = {
    "en": Texts("en", english.RULES, english.REASONS, english.HEADINGS),
    "fr": Texts("fr", french.RULES, french.REASONS, french.HEADINGS),
}
