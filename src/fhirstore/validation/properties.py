"""https://hl7.org/fhir/R4/elementdefinition.html: the cardinality and the rules of the properties of an object.

There is one function for each JSON representation of an element: a single value, an array, a primitive with a sibling
`_name`, and a choice of types.
"""

from __future__ import annotations

from collections.abc import Mapping

from fhirstore.definitions.model import Element
from fhirstore.model.messages import Message
from fhirstore.validation.bundle_index import Resource
from fhirstore.validation.discriminators import SlicedValue
from fhirstore.validation.issue_list import IssueList, merged, single_error
from fhirstore.validation.scope import Rule, ValidationScope
from fhirstore.validation.slicing import Slicing
from fhirstore.validation.text import listed
from fhirstore.validation.tree import ElementNode


class Cardinality:
    """The bounds of an element where they are stricter than in R4. high: None if it is as in R4. path: FHIRPath of the
    element below its object."""

    __slots__ = ("high", "id", "low", "path", "where")

    def __init__(self, low: int, high: int | None, id: str, where: str, name: str):
        self.low, self.high, self.id, self.where = low, high, id, where
        self.path = "." + name

    def check(self, count: int) -> IssueList | None:
        if count < self.low:
            if count:
                text = Message(
                    "{count} found; at least {low} required [min of {id} in {place}]",
                    count=count,
                    low=self.low,
                    id=self.id,
                    place=self.where,
                )
            else:
                text = Message(
                    "missing; at least {low} required [min of {id} in {place}]",
                    low=self.low,
                    id=self.id,
                    place=self.where,
                )
            return single_error("required", text, self.path)
        if self.high is not None and count > self.high:
            text = Message(
                "{count} found; at most {high} allowed [max of {id} in {place}]",
                count=count,
                high=self.high,
                id=self.id,
                place=self.where,
            )
            return single_error("structure", text, self.path)
        return None


def forbidden(node: ElementNode, base: Element, where: str) -> Rule:
    """The rule of an element whose maximum is 0."""
    keys = [base.name + t.code[:1].upper() + t.code[1:] for t in base.types] if base.choice else [base.name]
    names = frozenset(n for key in keys for n in (key, "_" + key))
    text = Message("not allowed here [max of {id} in {place}]", id=node.id, place=where)

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        return None if names.isdisjoint(obj) else single_error("structure", text, "." + base.name)

    return check


def single(cardinality: Cardinality, base: Element, item: Rule | None, slicing: Slicing | None, code: str) -> Rule:
    """The rule of an element that does not repeat and is not primitive. code: its FHIR type."""
    name, path, is_required = base.name, cardinality.path, cardinality.low > 0

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        value = obj.get(name)
        if value is None:
            found = cardinality.check(0) if is_required else None
            return merged(found, slicing([], scope), path) if slicing is not None else found
        part = item(value, scope) if item is not None else None
        found = None if part is None else merged(None, part, path)
        if slicing is not None:
            found = merged(found, slicing([SlicedValue("", value, code, 0)], scope), path)
        return found

    return check


def repeated(cardinality: Cardinality, base: Element, item: Rule | None, slicing: Slicing | None, code: str) -> Rule:
    """The rule of an element that repeats and is not primitive. code: its FHIR type."""
    name, path, low, high = base.name, cardinality.path, cardinality.low, cardinality.high

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        values = obj.get(name)
        if values is None and not low and slicing is None:
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
            found = merged(found, slicing(items, scope), path)
        return found

    return check


def primitive(
    cardinality: Cardinality, base: Element, item: Rule | None, sibling: Rule | None, slicing: Slicing | None, code: str
) -> Rule:
    """The rule of a primitive element, whose ids and extensions are in `_name`. A value or an extension counts.

    item: the rule of a value. sibling: the rule of an object in `_name`. code: the FHIR type."""
    if base.max == 1 and sibling is None and slicing is None:
        return _single_primitive(cardinality, base, item)
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
        if sibling is not None:
            for index in range(size):
                other = others[index] if index < len(others) else None
                part = sibling(other if other is not None else {}, scope)
                found = merged(found, part, path if single else f"{path}[{index}]")
        if slicing is not None:
            items = [SlicedValue("" if single else f"[{i}]", v, code, i) for i, v in enumerate(values) if v is not None]
            found = merged(found, slicing(items, scope), path)
        return found

    return check


def _single_primitive(cardinality: Cardinality, base: Element, item: Rule | None) -> Rule:
    """The rule of a primitive element that does not repeat, without constraints on its id and extensions."""
    name, sibling_key, path, is_required = base.name, "_" + base.name, cardinality.path, cardinality.low > 0

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        value = obj.get(name)
        if value is None:
            return cardinality.check(0) if is_required and obj.get(sibling_key) is None else None
        part = item(value, scope) if item is not None else None
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
    rule = Message("type of {id} in {place}", id=cardinality.id, place=cardinality.where)

    def check(obj: Resource, scope: ValidationScope) -> IssueList | None:
        present = next((key for key in obj if key in types), None)
        if present is None:
            found = cardinality.check(0) if cardinality.low else None
            return merged(found, slicing([], scope), path) if slicing is not None else found
        code = types[present]
        if narrowed is not None and code not in narrowed:
            return single_error(
                "structure",
                Message("expected {narrowed}, found {code} [{rule}]", narrowed=listed(narrowed), code=code, rule=rule),
                path,
            )
        value = obj[present]
        found = None
        item = rules.get(code)
        if present[0] == "_":
            return None
        if item is not None:
            found = merged(None, item(value, scope), path)
        if slicing is not None:
            found = merged(found, slicing([SlicedValue("", value, code, 0)], scope), path)
        return found

    return check
