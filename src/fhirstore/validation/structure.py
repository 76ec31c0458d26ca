"""https://hl7.org/fhir/R4/validation.html: whether a resource is what FHIR R4 says its type looks like.

Checked: known properties, JSON types, cardinality, the formats of primitives, ids and extensions of primitives, one
value of a choice, required bindings, reference syntax and target types, contained and nested resources. Profiles and
invariants (but ele-1 and ext-1, which the JSON format itself requirements) are checked elsewhere.
"""

from __future__ import annotations

from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.errors import Issue
from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, single_error
from fhirstore.validation.primitives import PRIMITIVES
from fhirstore.validation.structure_scope import StructureScope
from fhirstore.validation.type_checks import TypeChecks


class StructureValidator:
    """TypeChecks resources against the types of `core`. One per process; threads may share it."""

    def __init__(self, core: Definitions):
        self._core = core
        self._checks = TypeChecks(core)

    def validate(self, resource: Any) -> list[Issue]:
        """The issues of a resource (parsed JSON).

        Numbers are int or Decimal; float is accepted. A JSON value that is not a resource gives an issue, not an
        exception. Expressions start with the resource type (`Patient.name[0].given[1]`), or with `Resource` if the
        value is not a resource. There are at most `issue_list.MAX_ISSUES`, and one that says that there are more.
        """
        try:
            found: IssueList | None = self._checks.resource(resource)
        except RecursionError:
            found = single_error("too-costly", Message("the JSON is nested too deeply to be checked"))
        if found is None:
            return []
        name = resource.get("resourceType") if type(resource) is dict else None
        return found.to_issues(str(name) if self._checks.knows(name) else "Resource")

    def knows(self, resource: Any) -> bool:
        """Whether a JSON value has the resourceType of an R4 resource."""
        return type(resource) is dict and self._checks.knows(resource.get("resourceType"))

    def advise(self, resource: Any) -> list[Issue]:
        """The warnings of best practices (https://hl7.org/fhir/R4/bestpractices.html), which only $validate reports:
        dom-6, a narrative."""
        if not self.knows(resource) or not self._core.is_a(resource["resourceType"], "DomainResource"):
            return []
        name, narrative = resource["resourceType"], resource.get("text")
        if type(narrative) is dict and "div" in narrative:
            return []
        text = Message("{name}: dom-6: a resource should have a narrative (text.div) for robust management", name=name)
        return [Issue("warning", "invariant", text, (name,), "dom-6")]

    def value(self, type: str, value: Any, where: str) -> list[Issue]:
        """The issues of a JSON value of a data type ("code", "Coding"). where: its FHIRPath."""
        check = PRIMITIVES.get(type) or self._checks.check(type)
        try:
            found = check(value, StructureScope({}, in_transaction=False))
        except RecursionError:
            found = single_error("too-costly", Message("the JSON is nested too deeply to be checked"))
        return [] if found is None else found.to_issues(where)
