"""https://hl7.org/fhir/R4/terminologies.html#required: required bindings of CodeableConcept.

Those of code are `primitives.coded`; core R4 has no required binding on other types.
"""

from __future__ import annotations

from typing import Any

from fhirstore.validation.findings import Check, Container, Findings, describe, listed, refuse, warn


def unlisted(plain: Check, value_set: str, reason: str) -> Check:
    """The check of a value whose code cannot be looked for: a warning says so, and why, where there is one."""
    text = f"not checked against the required value set {value_set}: {reason}"

    def check(value: Any, container: Container) -> Findings | None:
        found = plain(value, container)
        if found is None and (type(value) is not dict or value.get("coding")):
            return warn("not-supported", text)
        return found

    return check


def bound(plain: Check, members: frozenset[tuple[str, str]], value_set: str) -> Check:
    """The check of a CodeableConcept that passes `plain` and has a coding among `members` (system, code).

    Text without a code gives a warning: nothing tells that it is wrong.
    """
    wanted = f"the required value set {value_set}; wanted: {listed(f'{system}|{code}' for system, code in members)}"

    def check(value: Any, container: Container) -> Findings | None:
        found = plain(value, container)
        if found is not None:
            return found
        codings = [(c.get("system"), c.get("code")) for c in value.get("coding", ())]
        if not members.isdisjoint(codings):
            return None
        given = [f"{system or ''}|{code}" for system, code in codings if code]
        if not given:
            return warn("code-invalid", f"there is no code, so none of {wanted}")
        return refuse("code-invalid", f"{describe(', '.join(given))} is not in {wanted}", ".coding")

    return check
