"""https://hl7.org/fhir/R4/terminologies.html#required: the required bindings of R4 on CodeableConcept.

`primitives.code_in` checks those on code. R4 has no required binding on other types.
"""

from __future__ import annotations

from typing import Any

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, single_error, single_warning
from fhirstore.validation.text import describe, listed
from fhirstore.validation.value_checks import Check, StructureScope


def unlisted(plain: Check, value_set: str, reason: str) -> Check:
    """The check of a value whose value set is not available: a code gives a warning with the reason."""
    text = Message(
        "not checked against the required value set {value_set}: {reason}", value_set=value_set, reason=reason
    )

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        found = plain(value, scope)
        if found is None and (type(value) is not dict or value.get("coding")):
            return single_warning("not-supported", text)
        return found

    return check


def bound(plain: Check, members: frozenset[tuple[str, str]], value_set: str) -> Check:
    """The check of a CodeableConcept that passes `plain` and has a coding among `members` (system, code).

    Text without a code gives a warning, because it can be valid.
    """
    expected = Message(
        "the required value set {value_set}; expected: {members}",
        value_set=value_set,
        members=listed((f"{system}|{code}" for system, code in members)),
    )

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        found = plain(value, scope)
        if found is not None:
            return found
        codings = [(c.get("system"), c.get("code")) for c in value.get("coding", ())]
        if not members.isdisjoint(codings):
            return None
        codes = [f"{system or ''}|{code}" for system, code in codings if code]
        if not codes:
            # Text can be valid without a code. A coding that names a system cannot.
            report = single_error if any(system for system, _ in codings) else single_warning
            return report("code-invalid", Message("there is no code of {expected}", expected=expected))
        return single_error(
            "code-invalid",
            Message("{codes} is not in {expected}", codes=describe(", ".join(codes)), expected=expected),
            ".coding",
        )

    return check
