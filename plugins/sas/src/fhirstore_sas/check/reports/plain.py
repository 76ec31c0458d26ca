"""The report for a terminal, in colour if the output is one."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from fhirstore_sas.check.languages import ReportLanguage
from fhirstore_sas.check.model import CheckReport, RuleFinding, printable

_COLOURS = {"error": "bold red", "warning": "yellow"}


def show(report: CheckReport, language: ReportLanguage, console: Console) -> None:
    """Writes the report to a console."""
    for line in _lines(report, language):
        console.print(line, soft_wrap=True)


def write(report: CheckReport, language: ReportLanguage) -> str:
    """The report without colours."""
    out = io.StringIO()
    show(report, language, Console(file=out, highlight=False, color_system=None))
    return out.getvalue()


def _lines(report: CheckReport, language: ReportLanguage) -> Iterator[Text]:
    yield Text(language.labelled("title", printable(report.target)), "bold")
    for finding in report.findings:
        yield from _finding(finding, language)
    if not report.findings:
        yield Text(language.heading("none"), "green")
    for rule, reason in report.skipped:
        yield Text(f"- {rule.id}: {language.heading('skipped')}, {language.reason(reason)}", "dim")
    counts = (
        language.findings(len(report.findings)),
        language.passed(len(report.passed)),
        language.skipped(len(report.skipped)),
    )
    yield Text(", ".join(counts), "bold")


def _finding(finding: RuleFinding, language: ReportLanguage) -> Iterator[Text]:
    rule = finding.rule
    kit = f"  {language.heading('kit')} {', '.join(rule.kit)}" if rule.kit else ""
    head = (f"{language.heading(rule.severity)}  ", _COLOURS[rule.severity])
    yield Text.assemble("\n", head, (rule.id, "bold"), f"  {language.title(rule)}  [{rule.spec}]{kit}")
    for occurrence in finding.occurrences:
        yield Text("  " + language.labelled("request", printable(occurrence.exchange.request)), "dim")
        for fault in occurrence.faults:
            yield Text(f"    {printable(str(fault))}")
        if occurrence.count > len(occurrence.faults):
            yield Text(f"    … {language.times(occurrence.count)}")
    yield Text("  " + language.labelled("remedy", language.remedy(rule)), "cyan")
