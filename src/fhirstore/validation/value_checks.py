"""https://hl7.org/fhir/R4/json.html: the checks of JSON values against the types of R4.

`structure` makes them from the definitions. A check that finds nothing returns None and calls no other module but
`fhirpath`. Errors are described elsewhere: `object_checks`, `arrays`, `primitives`, `references`, `base_invariants`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from fhirstore.definitions.model import Element
from fhirstore.fhirpath.evaluation import Environment, Predicate
from fhirstore.fhirpath.services import ContainedResources, NoServices
from fhirstore.validation.issue_list import IssueList, merged

_ID = r"[A-Za-z0-9\-.]{1,64}"
RELATIVE_REFERENCE = re.compile(rf"([A-Z][A-Za-z]+)/{_ID}(?:/_history/{_ID})?")

Json = Mapping[str, Any]
Report = Callable[[Any], IssueList | None]
"""The issues of a value that a check does not accept; None if there are none after all."""


class StructureScope(NoServices):
    """The resource that is being checked, with its contained resources, to which "#id" refers.

    in_transaction: whether the resource is an entry of a transaction Bundle, in which references can be searches
    (https://hl7.org/fhir/R4/http.html#trules). current: the resource itself, or the contained one that is being
    checked."""

    __slots__ = ("_contained", "_outer", "current", "in_transaction", "resource")

    def __init__(self, resource: dict[str, Any], in_transaction: bool):
        self.resource = self.current = resource
        self.in_transaction = in_transaction
        self._outer: StructureScope | None = None
        self._contained: ContainedResources | None = None

    def for_contained(self, resource: dict[str, Any]) -> StructureScope:
        """The scope of a contained resource."""
        scope = StructureScope(self.resource, self.in_transaction)
        scope.current, scope._outer = resource, self
        return scope

    def _find(self, id: str) -> dict[str, Any] | None:
        outermost = self if self._outer is None else self._outer
        if outermost._contained is None:  # most resources have no reference to a contained one
            outermost._contained = ContainedResources(self.resource)
        return outermost._contained.find(id)

    def resolve(self, reference: Any) -> dict[str, Any] | None:
        """The contained resource that "#id" refers to, or the resource itself ("#"). None for all other references."""
        text = reference.get("reference") if type(reference) is dict else reference
        if type(text) is not str or not text.startswith("#"):
            return None
        return self._find(text[1:])

    def contained_type(self, id: str) -> str | None:
        """The type of the contained resource `id`, or of the resource itself if `id` is empty.

        None if there is no such resource. Empty if it has no resourceType."""
        found = self._find(id)
        return None if found is None else str(found.get("resourceType", ""))


Check = Callable[[Any, StructureScope], IssueList | None]
"""Checks one JSON value of a resource. None if it finds nothing."""


def no_issues(value: Any, scope: StructureScope) -> IssueList | None:
    """The check that accepts every value."""
    return None


# --- objects and arrays -------------------------------------------------------------------------------


class Choice(NamedTuple):
    """An element with several types. keys: its JSON properties, `_name` siblings included. alternative: the property
    that an object has if and only if it does not have the element: `extension` of an extension (ext-1)."""

    element: Element
    keys: frozenset[str]
    is_required: bool
    alternative: str | None

    def is_fulfilled(self, value: Json) -> bool:
        """Whether an object has one property of the choice at most, and at least one if that is required."""
        count = len(value.keys() & self.keys)
        if count > 1 or (self.is_required and not count):
            return False
        return self.alternative is None or (count == 0) is (self.alternative in value)


class ObjectRules(Protocol):
    """The rules of the objects of one type or backbone; see `object_checks.CompiledObject`.

    known: the checks by property, filled as properties occur. required: the elements that are required and no choice.
    choices: the elements with several types. invariants: None if R4 states none."""

    known: dict[str, Check]
    required: frozenset[str]
    choices: tuple[Choice, ...]
    is_resource: bool
    invariants: Check | None

    def no_object(self, value: Any) -> IssueList:
        """The issues of a value that is no object."""

    def new_property(self, key: str, value: Json, scope: StructureScope) -> IssueList | None:
        """Checks a property that `known` does not contain."""

    def located(self, part: IssueList, key: str, value: Json, scope: StructureScope) -> IssueList | None:
        """The issues of a known property, below the object."""

    def missing(self, value: Json) -> IssueList | None:
        """The issues of required elements that an object omits."""

    def wrong_choice(self, choice: Choice, value: Json) -> IssueList | None:
        """The issues of an object with several properties of a choice, none of a required one, or its alternative."""

    def without_children(self, value: Json) -> IssueList | None:
        """The issues of an object that is empty or has an id only."""


def object_check(rules: ObjectRules) -> Check:
    """The check of an object of a type."""
    known, required, has_required = rules.known, rules.required, bool(rules.required)
    choices, is_resource, invariants = rules.choices, rules.is_resource, rules.invariants

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        if type(value) is not dict:
            return rules.no_object(value)
        found: IssueList | None = None
        for key, item in value.items():
            rule = known.get(key)
            if rule is None:
                part = rules.new_property(key, value, scope)
            else:
                part = rule(item, scope)
                if part is None:
                    continue
                part = rules.located(part, key, value, scope)
            if part is not None:
                found = merged(found, part)
                if found is not None and found.is_full:
                    return found
        if has_required and not value.keys() >= required and (part := rules.missing(value)) is not None:
            found = merged(found, part)
        if len(value) < 2 and not is_resource and (not value or "id" in value):
            part = rules.without_children(value)
            if part is not None:
                found = merged(found, part)
        for choice in choices:
            if not choice.is_fulfilled(value) and (part := rules.wrong_choice(choice, value)) is not None:
                found = merged(found, part)
        if invariants is not None and (found is None or not found.errors):
            part = invariants(value, scope)
            if part is not None:
                found = merged(found, part)
        return found

    return check


def repeated_check(item: Check, no_array: Report) -> Check:
    """The check of a non-empty array whose values pass `item`. R4 has no other bounds on arrays."""

    def check(values: Any, scope: StructureScope) -> IssueList | None:
        if type(values) is not list or not values:
            return no_array(values)
        found: IssueList | None = None
        for index, value in enumerate(values):
            part = item(value, scope)
            if part is not None:
                found = merged(found, part, f"[{index}]")
                if found is not None and found.is_full:
                    break
        return found

    return check


# --- invariants ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CompiledInvariant:
    """needs: the property without which no object violates the invariant, None if there is no such property.
    report: (value, environment) -> the issues if the predicate is not true."""

    key: str
    predicate: Predicate
    needs: str | None
    report: Callable[[Any, Environment], IssueList | None]


@dataclass(frozen=True, slots=True)
class PythonInvariant:
    """An invariant that is checked in Python. needs: the property without which no object violates it."""

    needs: str
    check: Check


def invariant_check(
    compiled: Sequence[CompiledInvariant], in_python: Sequence[PythonInvariant], is_resource: bool
) -> Check:
    """The check of an object that is otherwise valid. is_resource: whether its type is a resource type."""

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        found: IssueList | None = None
        env: Environment | None = None
        for invariant in compiled:
            if invariant.needs is not None and invariant.needs not in value:
                continue
            if env is None:
                env = Environment(value, value if is_resource else scope.current, scope.resource, scope)
            try:
                if invariant.predicate(value, env) is True:
                    continue
            except (ValueError, TypeError):
                pass  # `report` evaluates the invariant again and reports the reason
            part = invariant.report(value, env)
            if part is not None:
                found = merged(found, part)
        for one in in_python:
            part = one.check(value, scope) if one.needs in value else None
            if part is not None:
                found = merged(found, part)
        return found

    return check


# --- primitives ---------------------------------------------------------------------------------------


def boolean_check(report: Report) -> Check:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        return None if value is True or value is False else report(value)

    return check


def integer_check(low: int, high: int, report: Report) -> Check:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        return None if type(value) is int and low <= value <= high else report(value)

    return check


def decimal_check(report: Report) -> Check:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        return None if type(value) is int or (type(value) is Decimal and value.is_finite()) else report(value)

    return check


def string_check(max_length: int, has_control_characters: Callable[[str], Any], report: Report) -> Check:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        # isprintable is the cheapest test for control characters; most strings pass it
        if type(value) is str and value and (value.isprintable() or not has_control_characters(value)):
            return None if len(value) <= max_length else report(value)
        return report(value)

    return check


def uri_check(matches: Callable[[str], Any], report: Report) -> Check:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        if type(value) is str and value and ((value.isprintable() and " " not in value) or matches(value)):
            return None
        return report(value)

    return check


def text_check(matches: Callable[[str], Any], report: Report) -> Check:
    """The check of a string for which `matches` is true."""

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        return None if type(value) is str and matches(value) else report(value)

    return check


def reference_check(plain: Check, allowed: Set[str], other: Check) -> Check:
    """The check of a Reference whose JSON object passes `plain`.

    allowed: resource types of targets. other: the check of everything but a relative reference to one of them."""

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        found = plain(value, scope)
        if type(value) is not dict:
            return found
        text = value.get("reference")
        if "type" not in value:
            if text is None:
                return found
            match = RELATIVE_REFERENCE.fullmatch(text) if type(text) is str else None
            if match is not None and match[1] in allowed:
                return found
        return merged(found, other(value, scope))

    return check
