"""https://hl7.org/fhir/R4/elementdefinition.html: the properties of an object, how many, and the rules they keep.

One function for each way in which JSON holds an element: once, in an array, as a primitive with a sibling `_name`, or
as a choice of types.
"""

from __future__ import annotations

from collections.abc import Mapping

from fhirstore.definitions.model import Element
from fhirstore.validation.discriminators import Item
from fhirstore.validation.findings import Findings, listed, refuse
from fhirstore.validation.scope import Resource, Rule, Scope
from fhirstore.validation.slicing import Slicing
from fhirstore.validation.tree import Part


class Count:
    """How often an element must and may be there, as far as that is stricter than in R4. high None = as in R4."""

    __slots__ = ("high", "id", "low", "place", "where")

    def __init__(self, low: int, high: int | None, id: str, where: str, name: str):
        self.low, self.high, self.id, self.where = low, high, id, where
        self.place = "." + name

    def wrong(self, count: int) -> Findings | None:
        if count < self.low:
            if count:
                text = f"{count} found; at least {self.low} wanted [min of {self.id} in {self.where}]"
            else:
                text = f"required, but missing; at least {self.low} wanted [min of {self.id} in {self.where}]"
            return refuse("required", text, self.place)
        if self.high is not None and count > self.high:
            text = f"{count} found; at most {self.high} allowed [max of {self.id} in {self.where}]"
            return refuse("structure", text, self.place)
        return None


def _joined(found: Findings | None, part: Findings | None, place: str) -> Findings | None:
    if part is None:
        return found
    whole = found or Findings()
    whole.absorb(part, place)
    return whole


def forbidden(part: Part, base: Element, where: str) -> Rule:
    """Of an element whose maximum is 0."""
    keys = [base.name + t.code[:1].upper() + t.code[1:] for t in base.types] if base.choice else [base.name]
    names = frozenset(n for key in keys for n in (key, "_" + key))
    text = f"not allowed here [max of {part.id} in {where}]"

    def check(obj: Resource, scope: Scope) -> Findings | None:
        return None if names.isdisjoint(obj) else refuse("structure", text, "." + base.name)

    return check


def single(count: Count, base: Element, item: Rule | None, slicing: Slicing | None, code: str) -> Rule:
    """Of an element that does not repeat and is no primitive. code: its FHIR type."""
    name, place, needed = base.name, count.place, count.low > 0

    def check(obj: Resource, scope: Scope) -> Findings | None:
        value = obj.get(name)
        if value is None:
            found = count.wrong(0) if needed else None
            return _joined(found, slicing([], scope), place) if slicing is not None else found
        part = item(value, scope) if item is not None else None
        found = None if part is None else _joined(None, part, place)
        if slicing is not None:
            found = _joined(found, slicing([Item("", value, code, 0)], scope), place)
        return found

    return check


def repeated(count: Count, base: Element, item: Rule | None, slicing: Slicing | None, code: str) -> Rule:
    """Of an element that repeats and is no primitive. code: its FHIR type."""
    name, place, low, high = base.name, count.place, count.low, count.high

    def check(obj: Resource, scope: Scope) -> Findings | None:
        values = obj.get(name)
        if values is None and not low and slicing is None:
            return None
        if type(values) is not list:
            values = ()
        size = len(values)
        found = count.wrong(size) if size < low or (high is not None and size > high) else None
        if item is not None:
            for index, value in enumerate(values):
                part = item(value, scope)
                if part is not None:
                    found = _joined(found, part, f"{place}[{index}]")
                    if found is not None and found.full:
                        return found
        if slicing is not None:
            items = [Item(f"[{i}]", value, code, i) for i, value in enumerate(values)]
            found = _joined(found, slicing(items, scope), place)
        return found

    return check


def primitive(
    count: Count, base: Element, item: Rule | None, sibling: Rule | None, slicing: Slicing | None, code: str
) -> Rule:
    """Of a primitive element, whose id and extension stand beside it in `_name`; a value or an extension counts."""
    if base.max == 1 and sibling is None and slicing is None:
        return _plain(count, base, item)
    name, beside, place, single = base.name, "_" + base.name, count.place, base.max == 1
    low, high = count.low, count.high

    def check(obj: Resource, scope: Scope) -> Findings | None:
        value, more = obj.get(name), obj.get(beside)
        if single:
            values = [] if value is None else [value]
            others = [] if more is None else [more]
        else:
            values = value if type(value) is list else []
            others = more if type(more) is list else []
        size = max(len(values), len(others))
        found = count.wrong(size) if size < low or (high is not None and size > high) else None
        if item is not None:
            for index, one in enumerate(values):
                part = item(one, scope) if one is not None else None
                if part is not None:
                    found = _joined(found, part, place if single else f"{place}[{index}]")
        if sibling is not None:
            for index in range(size):
                other = others[index] if index < len(others) else None
                part = sibling(other if other is not None else {}, scope)
                found = _joined(found, part, place if single else f"{place}[{index}]")
        if slicing is not None:
            items = [Item("" if single else f"[{i}]", v, code, i) for i, v in enumerate(values) if v is not None]
            found = _joined(found, slicing(items, scope), place)
        return found

    return check


def _plain(count: Count, base: Element, item: Rule | None) -> Rule:
    """Of a primitive element that does not repeat, and whose id and extension nothing is said of."""
    name, beside, place, needed = base.name, "_" + base.name, count.place, count.low > 0

    def check(obj: Resource, scope: Scope) -> Findings | None:
        value = obj.get(name)
        if value is None:
            return count.wrong(0) if needed and obj.get(beside) is None else None
        part = item(value, scope) if item is not None else None
        return None if part is None else _joined(None, part, place)

    return check


def choice(
    count: Count, base: Element, rules: Mapping[str, Rule | None], narrowed: set[str] | None, slicing: Slicing | None
) -> Rule:
    """Of `value[x]`. narrowed: the types that the profile leaves, None = those of R4."""
    keys = {base.name + t.code[:1].upper() + t.code[1:]: t.code for t in base.types}
    types = keys | {"_" + key: code for key, code in keys.items()}
    place, label = count.place, count.wrong
    rule = f"type of {count.id} in {count.where}"

    def check(obj: Resource, scope: Scope) -> Findings | None:
        given = next((key for key in obj if key in types), None)
        if given is None:
            found = label(0) if count.low else None
            return _joined(found, slicing([], scope), place) if slicing is not None else found
        code = types[given]
        if narrowed is not None and code not in narrowed:
            return refuse("structure", f"{code} where {listed(narrowed)} is wanted [{rule}]", place)
        value = obj[given]
        found = None
        item = rules.get(code)
        if given[0] == "_":
            return None
        if item is not None:
            found = _joined(None, item(value, scope), place)
        if slicing is not None:
            found = _joined(found, slicing([Item("", value, code, 0)], scope), place)
        return found

    return check
