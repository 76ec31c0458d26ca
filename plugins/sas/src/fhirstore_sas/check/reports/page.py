"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fhirstore_sas.check.model import Finding, Occurrence, Report, visible
from fhirstore_sas.check.texts import Texts

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2433;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}code{font-size:.85rem}h1,code{overflow-wrap:anywhere}
article{border:1px solid #d5dae3;border-left:.4rem solid #b3261e;border-radius:.4rem;padding:.8rem 1rem;margin:1rem 0}
article.warning{border-left-color:#9a6700}h3{font-size:1rem;margin:0}.meta{color:#566074;font-size:.85rem}
.remedy{background:#eef6ee;padding:.4rem .6rem;border-radius:.3rem}ul{padding-left:1.2rem}
@media(prefers-color-scheme:dark){body{color:#e6e9ef;background:#14171d}article{border-color:#3a4150}
.meta{color:#a3adbf}.remedy{background:#1d2f22}}
"""


def write(report: Report, texts: Texts) -> str:
    words = texts.headings
    title = escape(f"{words['title']}: {visible(report.target)}")
    findings = "".join(_article(finding, texts) for finding in report.findings) or f"<p>{escape(words['none'])}</p>"
    kept = ", ".join(f"<code>{rule.id}</code>" for rule in report.passed)
    skipped = "".join(f"<li><code>{r.id}</code>: {escape(texts.reasons[why])}</li>" for r, why in report.skipped)
    return (
        f'<!doctype html>\n<html lang="{texts.language}">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{title}</h1>\n<p class="meta">{escape(report.started)}</p>\n'
        f"<h2>{len(report.findings)} {escape(words['findings'])}</h2>\n{findings}\n"
        f"<h2>{len(report.passed)} {escape(words['kept'])}</h2>\n<p>{kept}</p>\n"
        f"<h2>{len(report.skipped)} {escape(words['skipped'])}</h2>\n<ul>{skipped}</ul>\n</body></html>\n"
    )


def _article(finding: Finding, texts: Texts) -> str:
    rule, words = finding.rule, texts.headings
    kit = f" · {words['kit']} {', '.join(rule.kit)}" if rule.kit else ""
    about = escape(f"{words[rule.severity]} · {rule.id} · {rule.spec}{kit} · {finding.count} {words['times']}")
    occurrences = "".join(_occurrence(one, texts) for one in finding.occurrences)
    return (
        f'<article class="{rule.severity}"><h3>{escape(texts.title(rule))}</h3><p class="meta">{about}</p>{occurrences}'
        f'<p class="remedy">{escape(words["remedy"])}: {escape(texts.remedy(rule))}</p></article>\n'
    )


def _occurrence(one: Occurrence, texts: Texts) -> str:
    words = texts.headings
    return (
        f'<p class="meta">{escape(words["request"])}</p><code>{escape(visible(one.exchange.request))}</code>'
        f'<p class="meta">{escape(words["answer"])}</p><ul>{"".join(_faults(one))}</ul>'
    )


def _faults(one: Occurrence) -> Iterator[str]:
    for fault in one.faults:
        yield f"<li><code>{escape(visible(str(fault)))}</code></li>"
    if one.count > len(one.faults):
        yield f"<li>… {one.count}</li>"
