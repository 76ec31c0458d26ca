"""The report for a terminal; colours only where it is one."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from fhirstore_sas.check.model import Finding, Report, visible
from fhirstore_sas.check.texts import Texts

_COLOURS = {"error": "bold red", "warning": "yellow"}


def show(report: Report, texts: Texts, console: Console) -> None:
    """Writes the report to a console."""
    for line in _lines(report, texts):
        console.print(line, soft_wrap=True)


def write(report: Report, texts: Texts) -> str:
    """The report without colours."""
    out = io.StringIO()
    show(report, texts, Console(file=out, highlight=False, color_system=None))
    return out.getvalue()


def _lines(report: Report, texts: Texts) -> Iterator[Text]:
    words = texts.headings
    yield Text(f"{words['title']}: {visible(report.target)}", "bold")
    for finding in report.findings:
        yield from _finding(finding, texts)
    if not report.findings:
        yield Text(words["none"], "green")
    for rule, reason in report.skipped:
        yield Text(f"- {rule.id}: {words['skipped']}, {texts.reasons[reason]}", "dim")
    counts = ((len(report.findings), "findings"), (len(report.passed), "kept"), (len(report.skipped), "skipped"))
    yield Text(", ".join(f"{number} {words[name]}" for number, name in counts), "bold")


def _finding(finding: Finding, texts: Texts) -> Iterator[Text]:
    words, rule = texts.headings, finding.rule
    kit = f"  {words['kit']} {', '.join(rule.kit)}" if rule.kit else ""
    head = (f"{words[rule.severity]}  ", _COLOURS[rule.severity])
    yield Text.assemble("\n", head, (rule.id, "bold"), f"  {texts.title(rule)}  [{rule.spec}]{kit}")
    for occurrence in finding.occurrences:
        yield Text(f"  {words['request']}: {visible(occurrence.exchange.request)}", "dim")
        for fault in occurrence.faults:
            yield Text(f"    {visible(str(fault))}")
        if occurrence.count > len(occurrence.faults):
            yield Text(f"    … {occurrence.count} {words['times']}")
    yield Text(f"  {words['remedy']}: {texts.remedy(rule)}", "cyan")
