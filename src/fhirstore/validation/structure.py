"""https://hl7.org/fhir/R4/validation.html: whether a resource is what FHIR R4 says its type looks like.

Checked: known properties, JSON types, cardinality, the formats of primitives, ids and extensions of primitives, one
value of a choice, required bindings, reference syntax and target types, contained and nested resources. Profiles and
invariants (but ele-1 and ext-1, which the JSON format itself demands) are checked elsewhere.
"""

from __future__ import annotations

from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.errors import Issue
from fhirstore.validation.findings import Container, Findings, refuse
from fhirstore.validation.nodes import Checks
from fhirstore.validation.primitives import PRIMITIVES


class StructureValidator:
    """Checks resources against the types of `core`. One per process; threads may share it."""

    def __init__(self, core: Definitions):
        self._core = core
        self._checks = Checks(core)

    def validate(self, resource: Any) -> list[Issue]:
        """The issues of a resource, given as parsed JSON; an empty list when all is well.

        Numbers are int or Decimal (float is understood). Any other JSON value than a resource gives an issue, not an
        exception. The expressions start with the resource type (`Patient.name[0].given[1]`), those of a value that is
        no resource are `Resource`. At most `findings.MAX_ISSUES`, then one that says that there are more.
        """
        try:
            found: Findings | None = self._checks.resource(resource)
        except RecursionError:
            found = refuse("too-costly", "the JSON is nested too deeply to be checked")
        if found is None:
            return []
        name = resource.get("resourceType") if type(resource) is dict else None
        return found.issues(str(name) if self._checks.knows(name) else "Resource")

    def knows(self, resource: Any) -> bool:
        """Whether a JSON value says that it is a resource of R4."""
        return type(resource) is dict and self._checks.knows(resource.get("resourceType"))

    def advise(self, resource: Any) -> list[Issue]:
        """Warnings that https://hl7.org/fhir/R4/bestpractices.html gives and no write needs: dom-6, a narrative."""
        if not self.knows(resource) or not self._core.is_a(resource["resourceType"], "DomainResource"):
            return []
        name, narrative = resource["resourceType"], resource.get("text")
        if type(narrative) is dict and "div" in narrative:
            return []
        text = f"{name}: dom-6: a resource should have a narrative (text.div) for robust management"
        return [Issue("warning", "invariant", text, (name,), "dom-6")]

    def value(self, type: str, value: Any, where: str) -> list[Issue]:
        """The issues of a JSON value of a data type ("code", "Coding"), which stands at the FHIRPath `where`."""
        check = PRIMITIVES.get(type) or self._checks.node(type)
        try:
            found = check(value, Container({}, in_transaction=False))
        except RecursionError:
            found = refuse("too-costly", "the JSON is nested too deeply to be checked")
        return [] if found is None else found.issues(where)
