"""Reports of `fhirstore sas check`: four forms, two languages, nothing that the endpoint said is taken for markup."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.sas_damages import DAMAGES

from fhirstore_sas.check import texts
from fhirstore_sas.check.languages import LANGUAGES, ReportLanguage
from fhirstore_sas.check.model import MAX_SHOWN_FAULTS, CheckReport, CheckResults, Exchange
from fhirstore_sas.check.reports import FORMATS
from fhirstore_sas.check.run import RULES
from fhirstore_sas.rules import Fault, JsonNode

HOSTILE = "<script>alert('x')</script>\x1b[2J\x00 & é"
UNSHOWN = {"tls-version", "tls-certificate", "answer-time", "search-accept"}
"""Rules that no damaged server of the table breaks; other tests show them."""


@pytest.fixture
def report() -> CheckReport:
    journal = CheckResults(RULES)
    exchange = Exchange("GET", f"https://x.example/fhir/Slot?a={HOSTILE}", status=200)
    journal.note("slot-comment", exchange, [Fault(f"Bundle.entry[{n}]", HOSTILE) for n in range(9)])
    journal.note("self-link-literal", exchange, [Fault("Bundle.link", "a", "b")])
    journal.note("metadata", exchange)
    journal.skip("no-tls", "tls-version")
    return journal.report("https://x.example/fhir", "2026-10-24T08:00:00+02:00")


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_every_rule_has_its_texts(language: ReportLanguage) -> None:
    assert texts.RULES.keys() == RULES.keys()
    assert all(language.title(rule).strip() and language.remedy(rule).endswith(".") for rule in RULES.values())


def test_the_french_texts_differ_from_the_english_ones() -> None:
    messages = (*texts.REASONS.values(), *texts.HEADINGS.values(), *(m for rule in texts.RULES.values() for m in rule))
    assert list(LANGUAGES) == ["en", "fr"]
    assert [m for m in messages if LANGUAGES["fr"].render(m) == m] == []


def test_rules_are_well_formed() -> None:
    assert all(id == rule.id and rule.spec and rule.severity in ("error", "warning") for id, rule in RULES.items())


def test_the_table_of_damages_breaks_all_other_rules() -> None:
    broken = frozenset().union(*(damage.expected for damage in DAMAGES))
    assert RULES.keys() - broken == UNSHOWN
    assert len({damage.what for damage in DAMAGES}) == len(DAMAGES) >= 20


def test_a_report_counts_all_faults_and_shows_the_first(report: CheckReport) -> None:
    finding = report.findings[1]
    assert (finding.rule.id, finding.count, len(finding.occurrences[0].faults)) == ("slot-comment", 9, MAX_SHOWN_FAULTS)
    assert [rule.id for rule in report.passed] == ["metadata"]
    assert {rule.id: why for rule, why in report.skipped}["tls-version"] == "no-tls"


@pytest.mark.parametrize("language", LANGUAGES)
def test_json_holds_rule_request_answer_and_remedy(report: CheckReport, language: str) -> None:
    content = json.loads(FORMATS["json"](report, LANGUAGES[language]))
    finding = next(f for f in content["findings"] if f["rule"] == "slot-comment")
    assert finding["remedy"] == LANGUAGES[language].remedy(RULES["slot-comment"])
    assert finding["occurrences"][0]["faults"][0] == {"where": "Bundle.entry[0]", "found": HOSTILE, "wanted": ""}
    assert finding["occurrences"][0]["request"].startswith("GET https://x.example/fhir/Slot?a=")
    assert finding["kit"] == ["4.3.08", "6.1.01"]


def test_junit_has_a_case_for_each_rule(report: CheckReport) -> None:
    suite = ElementTree.fromstring(FORMATS["junit"](report, LANGUAGES["en"]))
    assert (suite.get("tests"), suite.get("failures")) == (str(len(RULES)), "2")
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert failed == {"slot-comment", "self-link-literal"}
    assert len(list(suite)) == len(RULES)


def test_html_stands_alone_and_escapes(report: CheckReport) -> None:
    page = FORMATS["html"](report, LANGUAGES["fr"])
    assert '<html lang="fr">' in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "src=" not in page
    assert "href=" not in page
    assert LANGUAGES["fr"].remedy(RULES["slot-comment"]) in unescape(page)


def test_terminal_shows_no_control_characters(report: CheckReport) -> None:
    text = FORMATS["terminal"](report, LANGUAGES["en"])
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "\\x1b[2J" in text
    assert "2 findings, 1 rule passed" in text


def test_a_part_may_be_anything() -> None:
    for value in (None, 1, "x", [], [1], {"a": None}, {"a": 3}, {"a": "x"}):
        part = JsonNode("x", value)
        assert (part.each("a"), part.get("a").each("b"), part.get("a").get("b").text) == ([], [], "")
        assert list(part.codings()) == []


def test_the_guide_lists_every_rule() -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "sas" / "check.md"
    _, _, rules = guide.read_text("utf-8").partition("\n## Rules\n")
    rows = [line for line in rules.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{rule.id}` | {rule.severity} | {texts.RULES[rule.id].title} | {', '.join(rule.kit)} |"
        for rule in RULES.values()
    ]
