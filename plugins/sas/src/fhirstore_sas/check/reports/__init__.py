"""A report as text for a terminal, JSON, JUnit XML, or one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fhirstore_sas.check.model import Report
from fhirstore_sas.check.reports import page, plain, structured
from fhirstore_sas.check.texts import Texts

FORMATS: Mapping[str, Callable[[Report, Texts], str]] = {
    "terminal": plain.write,
    "json": structured.write_json,
    "junit": structured.write_junit,
    "html": page.write,
}
