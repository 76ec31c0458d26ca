"""The formats of a report: text for a terminal, JSON, JUnit XML, a single HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fhirstore_sas.check.languages import ReportLanguage
from fhirstore_sas.check.model import CheckReport
from fhirstore_sas.check.reports import page, plain, structured

FORMATS: Mapping[str, Callable[[CheckReport, ReportLanguage], str]] = {
    "terminal": plain.write,
    "json": structured.write_json,
    "junit": structured.write_junit,
    "html": page.write,
}
