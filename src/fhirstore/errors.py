"""Errors that become an OperationOutcome.

Every refusal of the server is a `FhirError`: an HTTP status and one or more issues
(https://hl7.org/fhir/R4/operationoutcome.html). Texts say what was wrong, where, and what would be right.
"""

from __future__ import annotations

from collections.abc import Mapping

from fhirstore.model.issues import Issue, outcome, translate, translation
from fhirstore.model.messages import Message

__all__ = ["FhirError", "Issue", "Message", "StartupError", "error", "outcome", "translate", "translation"]


class FhirError(Exception):
    """A refusal: `status` is the HTTP status, `headers` go with it (Retry-After, Allow…)."""

    def __init__(self, status: int, issues: tuple[Issue, ...], headers: Mapping[str, str] | None = None):
        super().__init__(f"{status}: " + "; ".join(i.diagnostics for i in issues))
        self.status, self.issues, self.headers = status, issues, headers or {}


def error(
    status: int,
    code: str,
    diagnostics: str,
    *expression: str,
    headers: Mapping[str, str] | None = None,
    rule: str | None = None,
) -> FhirError:
    """A FhirError with a single issue of severity error. diagnostics: a `Message`, so that it can be translated."""
    return FhirError(status, (Issue("error", code, diagnostics, expression, rule),), headers)


class StartupError(Exception):
    """The server cannot start as configured; the text names the file and the key to mend. Exit status 2."""
