"""The report as a single HTML page without external resources."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fhirstore_sas.check.languages import ReportLanguage
from fhirstore_sas.check.model import CheckReport, Occurrence, RuleFinding, printable

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2433;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}code{font-size:.85rem}h1,code{overflow-wrap:anywhere}
article{border:1px solid #d5dae3;border-left:.4rem solid #b3261e;border-radius:.4rem;padding:.8rem 1rem;margin:1rem 0}
article.warning{border-left-color:#9a6700}h3{font-size:1rem;margin:0}.meta{color:#566074;font-size:.85rem}
.remedy{background:#eef6ee;padding:.4rem .6rem;border-radius:.3rem}ul{padding-left:1.2rem}
@media(prefers-color-scheme:dark){body{color:#e6e9ef;background:#14171d}article{border-color:#3a4150}
.meta{color:#a3adbf}.remedy{background:#1d2f22}}
"""


def write(report: CheckReport, language: ReportLanguage) -> str:
    title = escape(language.labelled("title", printable(report.target)))
    findings = "".join(_article(finding, language) for finding in report.findings)
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


def _article(finding: RuleFinding, language: ReportLanguage) -> str:
    rule = finding.rule
    kit = (f"{language.heading('kit')} {', '.join(rule.kit)}",) if rule.kit else ()
    about = " · ".join((language.heading(rule.severity), rule.id, rule.spec, *kit, language.times(finding.count)))
    return (
        f'<article class="{rule.severity}"><h3>{escape(language.title(rule))}</h3>{_paragraph(about, "meta")}'
        f"{''.join(_occurrence(one, language) for one in finding.occurrences)}"
        f"{_paragraph(language.labelled('remedy', language.remedy(rule)), 'remedy')}</article>\n"
    )


def _occurrence(one: Occurrence, language: ReportLanguage) -> str:
    request, faults = escape(printable(one.exchange.request)), "".join(_faults(one))
    return (
        f"{_paragraph(language.heading('request'), 'meta')}<code>{request}</code>"
        f"{_paragraph(language.heading('answer'), 'meta')}<ul>{faults}</ul>"
    )


def _faults(one: Occurrence) -> Iterator[str]:
    for fault in one.faults:
        yield f"<li><code>{escape(printable(str(fault)))}</code></li>"
    if one.count > len(one.faults):
        yield f"<li>… {one.count}</li>"
