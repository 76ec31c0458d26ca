"""The languages of reports: English, and those that have a catalogue of the plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fhirstore.plugins import Message, read_translations
from fhirstore_sas.check import texts
from fhirstore_sas.check.model import CheckRule

_CATALOGUES = Path(__file__).parents[1]


@dataclass(frozen=True)
class ReportLanguage:
    """Renders the texts of a report. code: "en", "fr"."""

    code: str

    def render(self, message: str) -> str:
        """The text of a message in this language."""
        if self.code == "en":
            return str(message)
        return read_translations(self.code, _CATALOGUES / f"{self.code}.po").render(message)

    def title(self, rule: CheckRule) -> str:
        return self.render(texts.RULES[rule.id].title)

    def remedy(self, rule: CheckRule) -> str:
        return self.render(texts.RULES[rule.id].remedy)

    def reason(self, name: str) -> str:
        """Why a rule was not checked. name: a key of `texts.REASONS`."""
        return self.render(texts.REASONS[name])

    def heading(self, name: str) -> str:
        """name: a key of `texts.HEADINGS`."""
        return self.render(texts.HEADINGS[name])

    def labelled(self, name: str, text: str) -> str:
        """A heading with the text that belongs to it. name: a key of `texts.HEADINGS`."""
        return self.render(Message("{label}: {text}", label=texts.HEADINGS[name], text=text))

    def findings(self, count: int) -> str:
        return self.render(Message.plural("{count} finding", "{count} findings", count))

    def passed(self, count: int) -> str:
        return self.render(Message.plural("{count} rule passed", "{count} rules passed", count))

    def skipped(self, count: int) -> str:
        return self.render(Message.plural("{count} rule not checked", "{count} rules not checked", count))

    def times(self, count: int) -> str:
        return self.render(Message.plural("{count} time", "{count} times", count))


LANGUAGES = {code: ReportLanguage(code) for code in ("en", *sorted(file.stem for file in _CATALOGUES.glob("*.po")))}
