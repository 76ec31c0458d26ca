"""https://hl7.org/fhir/R4/elementdefinition.html#ElementDefinition.min: how often an element occurs."""

from __future__ import annotations

from typing import NamedTuple

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, ProfileElement, single_error


class Cardinality(NamedTuple):
    """The bounds of an element where they are stricter than in R4. high: None if it is as in R4. path: FHIRPath of the
    element below its object."""

    low: int
    high: int | None
    element: ProfileElement
    path: str

    def check(self, count: int) -> IssueList | None:
        """The issues of an object with `count` values of the element."""
        if count < self.low:
            if not count:
                text = Message("missing; at least {low} required", low=self.low)
            else:
                text = Message("{count} found; at least {low} required", count=count, low=self.low)
            return single_error("required", text, self.path, source=self.element.rule("min"))
        if self.high is not None and count > self.high:
            text = Message("{count} found; at most {high} allowed", count=count, high=self.high)
            return single_error("structure", text, self.path, source=self.element.rule("max"))
        return None
