"""Errors that become an OperationOutcome.

Every refusal of the server is a `FhirError`: an HTTP status and one or more issues
(https://hl7.org/fhir/R4/operationoutcome.html). Texts say what was wrong, where, and what would be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

MAX_TEXT = 2000
"""Characters of a text in an issue; what goes on is cut, since some of it was sent by the client."""

RULE_SYSTEM = "urn:fhirstore:rule"
"""The system of rules' names that are given without one, in OperationOutcome.issue.details.coding."""

translation: ContextVar[Callable[[str], str] | None] = ContextVar("translation", default=None)
"""What puts the texts of an OperationOutcome into the language of the request that is answered; None = English. Only
the HTTP edge sets it: what is logged, and what commands print, is English."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One entry of OperationOutcome.issue.

    severity: fatal | error | warning | information. code: a code of
    https://hl7.org/fhir/R4/valueset-issue-type.html. expression: FHIRPaths into the resource, or
    `http.<header or parameter name>` for what is wrong with the request itself. rule: the name of the rule that was
    broken, a code ("per-1") of RULE_SYSTEM, or "system|code" (of a profile its url and "Slot.comment:min"); None = no
    rule with a name.
    """

    severity: str
    code: str
    diagnostics: str
    expression: tuple[str, ...] = ()
    rule: str | None = None

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"severity": self.severity, "code": self.code}
        if self.rule is not None:
            system, _, code = self.rule.rpartition("|")
            out["details"] = {"coding": [{"system": system or RULE_SYSTEM, "code": code}]}
        out["diagnostics"] = _cut(self.diagnostics)
        if self.expression:
            out["expression"] = [_cut(place) for place in self.expression]
        return out

    @property
    def is_error(self) -> bool:
        return self.severity in ("fatal", "error")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


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
    """A FhirError with a single issue of severity error."""
    return FhirError(status, (Issue("error", code, diagnostics, expression, rule),), headers)


class StartupError(Exception):
    """The server cannot start as configured; the text names the file and the key to mend. Exit status 2."""


def outcome(*issues: Issue) -> dict[str, Any]:
    """An OperationOutcome as a dict, in the language of the request; without issues it says that all is well."""
    shown = issues or (Issue("information", "informational", "All OK"),)
    translate = translation.get()
    if translate is not None:
        shown = tuple(replace(i, diagnostics=translate(i.diagnostics)) for i in shown)
    return {"resourceType": "OperationOutcome", "issue": [i.to_json() for i in shown]}
