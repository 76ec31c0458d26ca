"""The report for programs: JSON, and JUnit XML as build servers read it."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

from fhirstore_sas.check.model import Finding, Occurrence, Report, Rule
from fhirstore_sas.check.texts import Texts

_NO_XML = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COMMANDS = re.compile("[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What JSON lets stand though terminals obey it."""


def write_json(report: Report, texts: Texts) -> str:
    """{"target", "started", "language", "findings": […], "passed": [ids], "skipped": [{"rule", "reason"}]}."""
    content = {
        "target": report.target,
        "started": report.started,
        "language": texts.language,
        "findings": [_finding(finding, texts) for finding in report.findings],
        "passed": [rule.id for rule in report.passed],
        "skipped": [{"rule": rule.id, "reason": texts.reasons[reason]} for rule, reason in report.skipped],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return _COMMANDS.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def _finding(finding: Finding, texts: Texts) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.id,
        "severity": rule.severity,
        "spec": rule.spec,
        "kit": list(rule.kit),
        "text": texts.title(rule),
        "remedy": texts.remedy(rule),
        "count": finding.count,
        "occurrences": [_occurrence(one) for one in finding.occurrences],
    }


def _occurrence(one: Occurrence) -> dict[str, Any]:
    return {
        "request": one.exchange.request,
        "sent": one.exchange.sent or None,
        "status": one.exchange.status,
        "count": one.count,
        "faults": [{"where": f.where, "found": f.found, "wanted": f.wanted} for f in one.faults],
    }


def write_junit(report: Report, texts: Texts) -> str:
    """A test case for each rule; warnings fail too, as they do in the exit status."""
    total = len(report.findings) + len(report.passed) + len(report.skipped)
    counts = {"tests": str(total), "failures": str(len(report.findings)), "skipped": str(len(report.skipped))}
    suite = ElementTree.Element(
        "testsuite", {"name": _legal(f"fhirstore sas check {report.target}"), "errors": "0", **counts}
    )
    suite.set("timestamp", report.started)
    for rule in report.passed:
        _case(suite, rule)
    for finding in report.findings:
        rule = finding.rule
        message = _legal(f"{texts.title(rule)} ({finding.count})")
        failure = ElementTree.SubElement(_case(suite, rule), "failure", type=rule.severity, message=message)
        lines = [line for one in finding.occurrences for line in (one.exchange.request, *map(str, one.faults))]
        failure.text = _legal("\n".join([*lines, texts.remedy(rule)]))
    for rule, reason in report.skipped:
        ElementTree.SubElement(_case(suite, rule), "skipped", message=texts.reasons[reason])
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, rule: Rule) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="sas", name=rule.id)


def _legal(text: str) -> str:
    """Without the characters that XML cannot hold, or should not."""
    return _NO_XML.sub("\ufffd", text)
