"""Errors that become an OperationOutcome.

Every refusal of the server is a `FhirError`: an HTTP status and one or more issues
(https://hl7.org/fhir/R4/operationoutcome.html). Texts say what was wrong, where, and what would be right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message

__all__ = ["FhirError", "Issue", "Message", "StartupError", "error", "outcome", "translate", "translation"]

translation: ContextVar[Callable[[str], str] | None] = ContextVar("translation", default=None)
"""Renders a `Message` in the language of the current request; None = English. Only the HTTP layer sets it: logs and
commands are in English."""


def translate(text: str) -> str:
    """A message in the language of the request; unchanged if the language is English or has no translation of it."""
    into = translation.get()
    return text if into is None else into(text)


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


_ALL_OK = Issue("information", "informational", Message("All OK"))


def outcome(*issues: Issue) -> dict[str, Any]:
    """An OperationOutcome as a dict, in the language of the request. Without issues it says that there are none."""
    shown = issues or (_ALL_OK,)
    render = translation.get()
    if render is not None:
        shown = tuple(replace(i, diagnostics=render(i.diagnostics)) for i in shown)
    return {"resourceType": "OperationOutcome", "issue": [i.to_json() for i in shown]}
