"""The formats of a report: text for a terminal, JSON, JUnit XML, a single HTML page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import Any
from xml.etree import ElementTree

from rich.console import Console
from rich.text import Text

from fhirstore_sas.check.languages import ReportLanguage
from fhirstore_sas.check.model import CheckReport, CheckRule, Occurrence, RuleFinding, printable

_COLOURS = {"error": "bold red", "warning": "yellow"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL_CHARACTERS = re.compile("[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON allows in strings and that terminals interpret."""
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2433;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}code{font-size:.85rem}h1,code{overflow-wrap:anywhere}
article{border:1px solid #d5dae3;border-left:.4rem solid #b3261e;border-radius:.4rem;padding:.8rem 1rem;margin:1rem 0}
article.warning{border-left-color:#9a6700}h3{font-size:1rem;margin:0}.meta{color:#566074;font-size:.85rem}
.remedy{background:#eef6ee;padding:.4rem .6rem;border-radius:.3rem}ul{padding-left:1.2rem}
@media(prefers-color-scheme:dark){body{color:#e6e9ef;background:#14171d}article{border-color:#3a4150}
.meta{color:#a3adbf}.remedy{background:#1d2f22}}
"""


# --- text, in colour if the output is a terminal ---------------------------------------------------------


def show(report: CheckReport, language: ReportLanguage, console: Console) -> None:
    """Writes the report to a console."""
    for line in _text_lines(report, language):
        console.print(line, soft_wrap=True)


def _terminal(report: CheckReport, language: ReportLanguage) -> str:
    """The report without colours."""
    out = io.StringIO()
    show(report, language, Console(file=out, highlight=False, color_system=None))
    return out.getvalue()


def _text_lines(report: CheckReport, language: ReportLanguage) -> Iterator[Text]:
    yield Text(language.labelled("title", printable(report.target)), "bold")
    for finding in report.findings:
        yield from _text_finding(finding, language)
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


def _text_finding(finding: RuleFinding, language: ReportLanguage) -> Iterator[Text]:
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


# --- for programs: JSON, and JUnit XML for build servers ---------------------------------------------------


def _json(report: CheckReport, language: ReportLanguage) -> str:
    """{"target", "started", "language", "findings": […], "passed": [ids], "skipped": [{"rule", "reason"}]}."""
    content = {
        "target": report.target,
        "started": report.started,
        "language": language.code,
        "findings": [_json_finding(finding, language) for finding in report.findings],
        "passed": [rule.id for rule in report.passed],
        "skipped": [{"rule": rule.id, "reason": language.reason(reason)} for rule, reason in report.skipped],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return _CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def _json_finding(finding: RuleFinding, language: ReportLanguage) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.id,
        "severity": rule.severity,
        "spec": rule.spec,
        "kit": list(rule.kit),
        "text": language.title(rule),
        "remedy": language.remedy(rule),
        "count": finding.count,
        "occurrences": [_json_occurrence(one) for one in finding.occurrences],
    }


def _json_occurrence(one: Occurrence) -> dict[str, Any]:
    return {
        "request": one.exchange.request,
        "sent": one.exchange.sent or None,
        "status": one.exchange.status,
        "count": one.count,
        "faults": [{"where": f.where, "found": f.found, "wanted": f.wanted} for f in one.faults],
    }


def _junit(report: CheckReport, language: ReportLanguage) -> str:
    """A test case for each rule. Warnings fail too, as in the exit status."""
    total = len(report.findings) + len(report.passed) + len(report.skipped)
    counts = {"tests": str(total), "failures": str(len(report.findings)), "skipped": str(len(report.skipped))}
    suite = ElementTree.Element(
        "testsuite", {"name": _xml_text(f"fhirstore sas check {report.target}"), "errors": "0", **counts}
    )
    suite.set("timestamp", report.started)
    for rule in report.passed:
        _case(suite, rule)
    for finding in report.findings:
        rule = finding.rule
        message = _xml_text(f"{language.title(rule)} ({finding.count})")
        failure = ElementTree.SubElement(_case(suite, rule), "failure", type=rule.severity, message=message)
        lines = [line for one in finding.occurrences for line in (one.exchange.request, *map(str, one.faults))]
        failure.text = _xml_text("\n".join([*lines, language.remedy(rule)]))
    for rule, reason in report.skipped:
        ElementTree.SubElement(_case(suite, rule), "skipped", message=language.reason(reason))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, rule: CheckRule) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="sas", name=rule.id)


def _xml_text(text: str) -> str:
    """The text without the characters that XML does not allow or discourages."""
    return _NOT_XML.sub("\ufffd", text)


# --- a single HTML page without external resources ---------------------------------------------------------


def _html(report: CheckReport, language: ReportLanguage) -> str:
    title = escape(language.labelled("title", printable(report.target)))
    findings = "".join(_html_finding(finding, language) for finding in report.findings)
    passed = ", ".join(f"<code>{rule.id}</code>" for rule in report.passed)
    skipped = "".join(f"<li><code>{r.id}</code>: {escape(language.reason(why))}</li>" for r, why in report.skipped)
    return (
        f'<!doctype html>\n<html lang="{language.code}">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{title}</h1>\n<p class="meta">{escape(report.started)}</p>\n'
        f"<h2>{escape(language.findings(len(report.findings)))}</h2>\n"
        f"{findings or _paragraph(language.heading('none'))}\n"
        f"<h2>{escape(language.passed(len(report.passed)))}</h2>\n<p>{passed}</p>\n"
        f"<h2>{escape(language.skipped(len(report.skipped)))}</h2>\n<ul>{skipped}</ul>\n</body></html>\n"
    )


def _paragraph(text: str, style: str = "") -> str:
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def _html_finding(finding: RuleFinding, language: ReportLanguage) -> str:
    rule = finding.rule
    kit = (f"{language.heading('kit')} {', '.join(rule.kit)}",) if rule.kit else ()
    about = " · ".join((language.heading(rule.severity), rule.id, rule.spec, *kit, language.times(finding.count)))
    return (
        f'<article class="{rule.severity}"><h3>{escape(language.title(rule))}</h3>{_paragraph(about, "meta")}'
        f"{''.join(_html_occurrence(one, language) for one in finding.occurrences)}"
        f"{_paragraph(language.labelled('remedy', language.remedy(rule)), 'remedy')}</article>\n"
    )


def _html_occurrence(one: Occurrence, language: ReportLanguage) -> str:
    request, faults = escape(printable(one.exchange.request)), "".join(_html_faults(one))
    return (
        f"{_paragraph(language.heading('request'), 'meta')}<code>{request}</code>"
        f"{_paragraph(language.heading('answer'), 'meta')}<ul>{faults}</ul>"
    )


def _html_faults(one: Occurrence) -> Iterator[str]:
    for fault in one.faults:
        yield f"<li><code>{escape(printable(str(fault)))}</code></li>"
    if one.count > len(one.faults):
        yield f"<li>… {one.count}</li>"


FORMATS: Mapping[str, Callable[[CheckReport, ReportLanguage], str]] = {
    "terminal": _terminal,
    "json": _json,
    "junit": _junit,
    "html": _html,
}
