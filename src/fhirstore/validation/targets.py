"""https://hl7.org/fhir/R4/elementdefinition.html#ElementDefinition.type.targetProfile: targets of references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fhirstore.model.messages import Message, disjunction
from fhirstore.validation.issue_list import IssueList, ProfileRule, single_error, single_warning
from fhirstore.validation.text import describe, listed


class TargetProfiles(NamedTuple):
    """types: target profile -> its resource type, None if its definition is unavailable. core_types: the resource types
    that are target profiles themselves, so that they constrain nothing but the type."""

    types: Mapping[str, str | None]
    core_types: frozenset[str]

    def issue(self, reference: Any, name: str, fitting: list[str], reason: str, source: ProfileRule) -> IssueList:
        """The issue of a reference that is not known to be right.

        name: the resource type of the target. fitting: the target profiles of this type. reason: why the target does
        not conform to the first of them."""
        unavailable = listed(url for url, of in self.types.items() if of is None)
        shown = describe(reference) if type(reference) is str else Message("the reference")
        if not fitting and not unavailable:
            known = listed({of for of in self.types.values() if of})
            text = Message("{shown} refers to {name}; allowed: {known}", shown=shown, name=name, known=known)
            return single_error("value", text, source=source)
        if not fitting:
            text = Message(
                "{shown} refers to {name}; not checked: {unavailable} is unavailable",
                shown=shown,
                name=name,
                unavailable=unavailable,
            )
            return single_warning("not-supported", text, source=source)
        if unavailable:
            text = Message("{shown}: not checked: {unavailable} is unavailable", shown=shown, unavailable=unavailable)
            return single_warning("not-supported", text, source=source)
        text = Message(
            "{shown} does not conform to {fitting}: {reason}",
            shown=shown,
            fitting=disjunction(fitting),
            reason=reason,
        )
        return single_error("value", text, source=source)
