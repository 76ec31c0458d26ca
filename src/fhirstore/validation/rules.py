"""https://hl7.org/fhir/R4/profiling.html: the rules of a profile on objects and their properties.

`elements` compiles them. A rule checks one value of an element, or an object for one of its properties. There is one
kind of rule for each JSON representation of an element: a single value, an array, a primitive with a sibling `_name`,
and a choice of types. `value_rules` and `slice_rules` check the values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fhirstore.definitions.model import Element
from fhirstore.model.messages import Message
from fhirstore.terminology.service import TerminologySnapshot
from fhirstore.validation.bundle_index import BundleIndex, Resource
from fhirstore.validation.cardinality import Cardinality
from fhirstore.validation.issue_list import IssueList, ProfileElement, merged, single_error
from fhirstore.validation.text import listed


class ValidationScope:
    """The surroundings of a value: its resource, the containing resource and the Bundle.

    https://hl7.org/fhir/R4/references.html#contained and https://hl7.org/fhir/R4/bundle.html#references: references are
    resolved to contained resources and to entries of the Bundle. Nothing else is fetched.

    resource: the resource of the value. root: the resource that contains it, or itself. bundle: the index of the
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


class SlicedValue(NamedTuple):
    """A value of a sliced element. segment: its FHIRPath ("[2]"), "" if the element does not repeat. type: its FHIR
    type. position: its index."""

    segment: str
    value: Any
    type: str
    position: int


class Slicing(NamedTuple):
    """check: checks all values of an element. The paths of its issues start with the segments of the values.
    is_required: whether an element without values has issues."""

    check: Callable[[list[SlicedValue], ValidationScope], IssueList | None]
    is_required: bool


# --- objects ------------------------------------------------------------------------------------------


def no_issues(value: Any, scope: ValidationScope) -> IssueList | None:
    """The rule that accepts every value."""
    return None


def combine_rules(rules: Sequence[Rule]) -> Rule | None:
    """A rule that applies all rules to a value. None if there are none."""
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


def object_rule(properties: tuple[Rule, ...]) -> Rule:
    """The rule of an object that applies the rules of its properties."""

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        if type(value) is not dict:
            return None
        found: IssueList | None = None
        for rule in properties:
            part = rule(value, scope)
            if part is not None:
                found = merged(found, part)
                if found is not None and found.is_full:
                    break
        return found

    return check


def in_own_scope(rule: Rule) -> Rule:
    """The rule in the scope of the resource that the value is."""
    return lambda value, scope: rule(value, scope.for_value(value))


def resource_type(name: str, is_a: Callable[[str, str], bool], profile: str) -> Rule:
    """The rule that a value is a resource of the type `name` that a profile constrains."""

    def check(value: Any, scope: ValidationScope) -> IssueList | None:
        found = value.get("resourceType") if type(value) is dict else None
        if found == name or (type(found) is str and is_a(found, name)):
            return None
        text = Message("expected {name}, found {found}", name=name, found=found)
        return single_error("structure", text, source=ProfileElement("", profile).rule("type"))

    return check


# --- properties ---------------------------------------------------------------------------------------


def forbidden(element: ProfileElement, base: Element) -> Rule:
    """The rule of an element whose maximum is 0."""
    keys = [base.name + t.code[:1].upper() + t.code[1:] for t in base.types] if base.choice else [base.name]
    names = frozenset(n for key in keys for n in (key, "_" + key))

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        if names.isdisjoint(obj):
            return None
        text = Message("not allowed here")
        return single_error("structure", text, "." + base.name, source=element.rule("max"))

    return check


def single(cardinality: Cardinality, base: Element, item: Rule | None, slicing: Slicing | None, code: str) -> Rule:
    """The rule of an element that does not repeat and is not primitive. code: its FHIR type."""
    name, path, is_required = base.name, cardinality.path, cardinality.low > 0

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        value = obj.get(name)
        if value is None:
            found = cardinality.check(0) if is_required else None
            return merged(found, slicing.check([], scope), path) if slicing is not None else found
        part = item(value, scope) if item is not None else None
        found = None if part is None else merged(None, part, path)
        if slicing is not None and (part := slicing.check([SlicedValue("", value, code, 0)], scope)) is not None:
            found = merged(found, part, path)
        return found

    return check


def repeated(cardinality: Cardinality, base: Element, item: Rule | None, slicing: Slicing | None, code: str) -> Rule:
    """The rule of an element that repeats and is not primitive. code: its FHIR type."""
    name, path, low, high = base.name, cardinality.path, cardinality.low, cardinality.high
    is_optional = not low and (slicing is None or not slicing.is_required)

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        values = obj.get(name)
        if values is None and is_optional:
            return None
        if type(values) is not list:
            values = ()
        size = len(values)
        found = cardinality.check(size) if size < low or (high is not None and size > high) else None
        if item is not None:
            for index, value in enumerate(values):
                part = item(value, scope)
                if part is not None:
                    found = merged(found, part, f"{path}[{index}]")
                    if found is not None and found.is_full:
                        return found
        if slicing is not None:
            items = [SlicedValue(f"[{i}]", value, code, i) for i, value in enumerate(values)]
            part = slicing.check(items, scope)
            if part is not None:
                found = merged(found, part, path)
        return found

    return check


class PrimitiveRules(NamedTuple):
    """item: the rule of a value. sibling: the rule of an object in `_name`. no_value: the rule of an object in `_name`
    that stands for a value. code: the FHIR type."""

    item: Rule | None
    sibling: Rule | None
    no_value: Rule | None
    code: str


def primitive(cardinality: Cardinality, base: Element, rules: PrimitiveRules, slicing: Slicing | None) -> Rule:
    """The rule of a primitive element, whose ids and extensions are in `_name`. A value or an extension counts."""
    item, sibling, no_value, code = rules
    if base.max == 1 and sibling is None and slicing is None:
        return _single_primitive(cardinality, base, item, no_value)
    name, sibling_key, path, single = base.name, "_" + base.name, cardinality.path, base.max == 1
    low, high = cardinality.low, cardinality.high

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        value, more = obj.get(name), obj.get(sibling_key)
        if single:
            values = [] if value is None else [value]
            others = [] if more is None else [more]
        else:
            values = value if type(value) is list else []
            others = more if type(more) is list else []
        size = max(len(values), len(others))
        found = cardinality.check(size) if size < low or (high is not None and size > high) else None
        if item is not None:
            for index, one in enumerate(values):
                part = item(one, scope) if one is not None else None
                if part is not None:
                    found = merged(found, part, path if single else f"{path}[{index}]")
        for rule in (sibling, no_value):
            for index in range(size if rule is not None else 0):
                other = others[index] if index < len(others) else None
                if rule is no_value and (other is None or (index < len(values) and values[index] is not None)):
                    continue
                part = rule(other if other is not None else {}, scope) if rule is not None else None
                if part is not None:
                    found = merged(found, part, path if single else f"{path}[{index}]")
        if slicing is not None:
            items = [SlicedValue("" if single else f"[{i}]", v, code, i) for i, v in enumerate(values) if v is not None]
            part = slicing.check(items, scope)
            if part is not None:
                found = merged(found, part, path)
        return found

    return check


def _single_primitive(cardinality: Cardinality, base: Element, item: Rule | None, no_value: Rule | None) -> Rule:
    """The rule of a primitive element that does not repeat, without constraints on its id and extensions."""
    name, sibling_key, path, is_required = base.name, "_" + base.name, cardinality.path, cardinality.low > 0

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        value = obj.get(name)
        if value is not None:
            part = item(value, scope) if item is not None else None
        else:
            sibling = obj.get(sibling_key)
            if sibling is None:
                return cardinality.check(0) if is_required else None
            part = no_value(sibling, scope) if no_value is not None else None
        return None if part is None else merged(None, part, path)

    return check


def choice(
    cardinality: Cardinality,
    base: Element,
    rules: Mapping[str, Rule | None],
    narrowed: set[str] | None,
    slicing: Slicing | None,
) -> Rule:
    """The rule of `value[x]`. narrowed: the types that the profile allows, None if it allows those of R4."""
    keys = {base.name + t.code[:1].upper() + t.code[1:]: t.code for t in base.types}
    types = keys | {"_" + key: code for key, code in keys.items()}
    path = cardinality.path

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        present = next((key for key in obj if key in types), None)
        if present is None:
            found = cardinality.check(0) if cardinality.low else None
            return merged(found, slicing.check([], scope), path) if slicing is not None else found
        code = types[present]
        if narrowed is not None and code not in narrowed:
            text = Message("expected {narrowed}, found {code}", narrowed=listed(narrowed), code=code)
            source = cardinality.element.rule("type")
            return single_error("structure", text, path, source=source)
        if present[0] == "_":
            return None
        value, item = obj[present], rules.get(code)
        part = item(value, scope) if item is not None else None
        found = None if part is None else merged(None, part, path)
        if slicing is not None and (part := slicing.check([SlicedValue("", value, code, 0)], scope)) is not None:
            found = merged(found, part, path)
        return found

    return check
