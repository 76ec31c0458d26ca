"""Issues and outcomes: https://hl7.org/fhir/R4/operationoutcome.html."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from fhirstore.model.messages import Message

MAX_TEXT = 2000
"""Characters of a text in an issue. Longer texts are cut, because part of them was sent by the client."""

RULE_SYSTEM = "urn:fhirstore:rule"
"""The system of rules' names that are given without one, in OperationOutcome.issue.details.coding."""


translation: ContextVar[Callable[[str], str] | None] = ContextVar("translation", default=None)
"""Renders a `Message` in the language of the current request; None = English. Only the HTTP layer sets it: logs and
commands are in English."""


def translate(text: str) -> str:
    """A message in the language of the request; unchanged if the language is English or has no translation of it."""
    into = translation.get()
    return text if into is None else into(text)


@dataclass(frozen=True, slots=True)
class Issue:
    """One entry of OperationOutcome.issue.

    diagnostics: a `Message`; a plain string is never translated. severity: fatal | error | warning | information.
    code: a code of https://hl7.org/fhir/R4/valueset-issue-type.html. expression: FHIRPaths into the resource, or
    `http.<header or parameter name>` for what is wrong with the request itself. rule: the name of the rule that was
    broken, a code ("per-1") of RULE_SYSTEM, or "system|code" (of a profile its url and "Slot.comment:min"); None = no
    rule with a name.
    """

    severity: str
    code: str
    diagnostics: str
    expression: tuple[str, ...] = ()
    rule: str | None = None

    def moved(self, type: str, where: str) -> Issue:
        """The issue with its expressions moved from a resource of this type to its location `where` in a Bundle."""
        moved = tuple(where + e[len(type) :] if e.split(".")[0].split("[")[0] == type else e for e in self.expression)
        return replace(self, expression=moved or (where,))

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"severity": self.severity, "code": self.code}
        if self.rule is not None:
            system, _, code = self.rule.rpartition("|")
            out["details"] = {"coding": [{"system": system or RULE_SYSTEM, "code": code}]}
        out["diagnostics"] = _cut(str(self.diagnostics))
        if self.expression:
            out["expression"] = [_cut(place) for place in self.expression]
        return out

    @property
    def is_error(self) -> bool:
        return self.severity in ("fatal", "error")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


_ALL_OK = Issue("information", "informational", Message("All OK"))


def outcome(*issues: Issue) -> dict[str, Any]:
    """An OperationOutcome as a dict, in the language of the request. Without issues it says that there are none."""
    shown = issues or (_ALL_OK,)
    render = translation.get()
    if render is not None:
        shown = tuple(replace(i, diagnostics=render(i.diagnostics)) for i in shown)
    return {"resourceType": "OperationOutcome", "issue": [i.to_json() for i in shown]}
