"""The surroundings of a value during profile validation: its resource, the containing resource and the Bundle.

https://hl7.org/fhir/R4/references.html#contained and https://hl7.org/fhir/R4/bundle.html#references: references are
resolved to contained resources and to entries of the Bundle. Nothing else is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirstore.terminology.snapshot import TerminologySnapshot
from fhirstore.validation.bundle_index import BundleIndex, Resource
from fhirstore.validation.issue_list import IssueList, merged


class ValidationScope:
    """resource: the resource of the value. root: the resource that contains it, or itself. bundle: the index of the
    Bundle, None outside of a Bundle. terminology: the code systems and value sets.

    verdicts: (id of a resource, profile) -> whether it conforms. without_issues: (id of a value, profile) of values in
    which nothing was found. All scopes of one validation share both; no resource changes during a validation."""

    __slots__ = ("bundle", "resource", "root", "terminology", "verdicts", "without_issues")

    def __init__(
        self,
        resource: Resource,
        terminology: TerminologySnapshot,
        root: Resource | None = None,
        bundle: BundleIndex | None = None,
        verdicts: dict[tuple[int, str], bool] | None = None,
        without_issues: set[tuple[int, str]] | None = None,
    ):
        self.resource = resource
        self.terminology = terminology
        self.root = resource if root is None else root
        self.verdicts: dict[tuple[int, str], bool] = {} if verdicts is None else verdicts
        self.without_issues: set[tuple[int, str]] = set() if without_issues is None else without_issues
        self.bundle = BundleIndex(resource) if resource.get("resourceType") == "Bundle" else bundle

    def for_resource(self, resource: Resource) -> ValidationScope:
        """The scope of a nested resource: an entry of the Bundle, or a contained resource."""
        contained = self.root.get("contained")
        is_contained = type(contained) is list and any(c is resource for c in contained)
        root = self.root if is_contained else None
        return ValidationScope(resource, self.terminology, root, self.bundle, self.verdicts, self.without_issues)

    def for_value(self, value: Any) -> ValidationScope:
        """The scope of a value in this resource: its own scope if it is a resource."""
        return self.for_resource(value) if type(value) is dict and "resourceType" in value else self

    def locate(self, reference: str) -> tuple[str, Resource | None]:
        """The aggregation mode of a reference ("contained", "bundled" or "referenced") and its target.

        The target is None if it is not available."""
        if reference.startswith("#"):
            if reference == "#":
                return "contained", self.root
            contained = self.root.get("contained")
            for one in contained if type(contained) is list else ():
                if type(one) is dict and one.get("id") == reference[1:]:
                    return "contained", one
            return "contained", None
        found = self.bundle.find(reference, self.root) if self.bundle is not None else None
        return ("referenced", None) if found is None else ("bundled", found)

    def resolve(self, reference: Any) -> Resource | None:
        """The target of a Reference (a dict) or of a URI. None if it is not available."""
        text = reference.get("reference") if type(reference) is dict else reference
        return self.locate(text)[1] if type(text) is str else None


Rule = Callable[[Any, ValidationScope], IssueList | None]
"""Checks one value of an element, or an object for one of its properties. None if it finds nothing."""


def combine_rules(rules: list[Rule]) -> Rule | None:
    """A rule that applies all rules. None if there are none."""
    if len(rules) < 2:
        return rules[0] if rules else None
    every = tuple(rules)

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        found: IssueList | None = None
        for rule in every:
            part = rule(value, scope)
            if part is not None:
                found = merged(found, part)
        return found

    return check


def no_issues(value: Any, scope: ValidationScope) -> IssueList | None:
    """The rule that accepts every value."""
    return None
