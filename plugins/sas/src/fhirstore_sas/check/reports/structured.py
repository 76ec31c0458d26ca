"""The report for programs: JSON, and JUnit XML for build servers."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

from fhirstore_sas.check.languages import ReportLanguage
from fhirstore_sas.check.model import CheckReport, CheckRule, Occurrence, RuleFinding

_NOT_XML = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL_CHARACTERS = re.compile("[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that JSON allows in strings and that terminals interpret."""


def write_json(report: CheckReport, language: ReportLanguage) -> str:
    """{"target", "started", "language", "findings": […], "passed": [ids], "skipped": [{"rule", "reason"}]}."""
    content = {
        "target": report.target,
        "started": report.started,
        "language": language.code,
        "findings": [_finding(finding, language) for finding in report.findings],
        "passed": [rule.id for rule in report.passed],
        "skipped": [{"rule": rule.id, "reason": language.reason(reason)} for rule, reason in report.skipped],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return _CONTROL_CHARACTERS.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def _finding(finding: RuleFinding, language: ReportLanguage) -> dict[str, Any]:
    rule = finding.rule
    return {
        "rule": rule.id,
        "severity": rule.severity,
        "spec": rule.spec,
        "kit": list(rule.kit),
        "text": language.title(rule),
        "remedy": language.remedy(rule),
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


def write_junit(report: CheckReport, language: ReportLanguage) -> str:
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
