"""https://hl7.org/fhir/R4/json.html: the rules of the JSON objects of one type or backbone.

`value_checks.object_check` applies them. It maps each JSON property to the check of its value. The map is filled as
properties occur, so a valid object costs one look-up and one call per property. This module handles everything else:
the first occurrence of a property, `_name` siblings, choices, unknown and missing properties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element, Node, TypeRef
from fhirstore.model.messages import Message, conjunction
from fhirstore.validation.arrays import check_padded, check_sibling, check_siblings
from fhirstore.validation.base_invariants import make_invariants
from fhirstore.validation.issue_list import IssueList, merged, single_error, wrong_json
from fhirstore.validation.primitives import PRIMITIVES
from fhirstore.validation.text import describe, listed, near, segment
from fhirstore.validation.value_checks import Check, Choice, StructureScope, no_issues, object_check

PropertyChecks = Callable[[Node, Element, TypeRef], tuple[Check, Check]]
"""`StructureValidator.property_checks`"""
CheckOf = Callable[[str], Check]
"""`StructureValidator.check`"""


def compile_object(core: Definitions, node: Node, property_checks: PropertyChecks, check_of: CheckOf) -> Check:
    """The check of an object of the type `node`."""
    return object_check(CompiledObject(core, node, property_checks, check_of))


def _missing(element: Element) -> IssueList:
    types = listed({t.code for t in element.types}) or "BackboneElement"
    return single_error(
        "required",
        Message("missing; at least {min} required ({types})", min=element.min, types=types),
        "." + element.name,
    )


def _with_siblings(keys: Iterable[str]) -> frozenset[str]:
    return frozenset(name for key in keys for name in (key, "_" + key))


class CompiledObject:
    """`value_checks.ObjectRules` of the type `node`."""

    def __init__(self, core: Definitions, node: Node, property_checks: PropertyChecks, check_of: CheckOf):
        self._node = node
        self._property_checks = property_checks
        self._check_of = check_of
        self._items: dict[str, Check] = {}
        names = {e.name for e in node.elements.values() if e.choice}
        self._choices = {n: [k for k, (e, _) in node.keys.items() if e.name == n] for n in names}
        self.is_resource = node.kind == "resource"
        self.known: dict[str, Check] = {"resourceType": no_issues} if self.is_resource else {}
        self.required = frozenset(e.name for e in node.elements.values() if e.min and not e.choice)
        alternative = "extension" if node.path == "Extension" else None
        self.choices = tuple(
            Choice(e, _with_siblings(self._choices[e.name]), e.min > 0, alternative)
            for e in node.elements.values()
            if e.choice
        )
        self.invariants = make_invariants(core, node)

    def no_object(self, value: Any) -> IssueList:
        """The error of a value that is no object."""
        return wrong_json(value, Message("an object"))

    def missing(self, value: Mapping[str, Any]) -> IssueList | None:
        """The errors of required elements that an object omits."""
        found: IssueList | None = None
        for name in (e.name for e in self._node.elements.values() if e.name in self.required):
            if name not in value and "_" + name not in value:
                found = merged(found, _missing(self._node.elements[name]))
        return found

    def without_children(self, value: Mapping[str, Any]) -> IssueList | None:
        """ele-1: https://hl7.org/fhir/R4/element.html#Element.ele-1."""
        if not value:
            return single_error("structure", Message("the object is empty; omit the property if it has no value"))
        # "Element" stands for the id and extensions of a primitive, whose value is in another property.
        if self._node.path == "Element":
            return None
        text = Message("ele-1: the element has an id but neither a value nor children")
        return single_error("invariant", text, rule="ele-1")

    def wrong_choice(self, choice: Choice, value: Mapping[str, Any]) -> IssueList | None:
        """The errors of a choice: a missing value, several types, ext-1
        (https://hl7.org/fhir/R4/extensibility.html#Extension.ext-1)."""
        element = choice.element
        # The value and the sibling of the value have the same type.
        types = list(dict.fromkeys(k.removeprefix("_") for k in value if k in choice.keys))
        found: IssueList | None = None
        if len(types) > 1:
            text = Message(
                "only one type of {path} is allowed, not {present}", path=element.path, present=conjunction(types)
            )
            found = single_error("structure", text, "." + element.name)
        if choice.is_required and not types:
            found = merged(found, _missing(element))
        if choice.alternative is not None and bool(types) is (choice.alternative in value):
            text = Message("ext-1: the extension has neither a value[x] nor extensions; provide one of them")
            if types:
                text = Message("ext-1: the extension has both a value[x] and extensions; provide only one of them")
            found = merged(found, single_error("invariant", text, rule="ext-1"))
        return found

    def new_property(self, key: str, value: Mapping[str, Any], scope: StructureScope) -> IssueList | None:
        """Checks the property `key` of an object, and adds its check to `known`, unless it is a `_name` sibling."""
        entry = self._node.keys.get(key)
        if entry is None:
            return self._sibling(key, value, scope) if key.startswith("_") else self._unknown(key)
        element, type_ref = entry
        check, item = self._property_checks(self._node, element, type_ref)
        if element.max != 1 and type_ref.code in PRIMITIVES:
            self._items[key] = item
        self.known[key] = check
        part = check(value[key], scope)
        return None if part is None else self.located(part, key, value, scope)

    def located(self, part: IssueList, key: str, value: Mapping[str, Any], scope: StructureScope) -> IssueList | None:
        """The issues of a property below its object. An array of primitives is checked again if it has a `_name`
        sibling, because it can contain nulls then."""
        item, siblings = self._items.get(key), value.get("_" + key)
        found: IssueList | None = part
        if item is not None and type(siblings) is list and type(value[key]) is list and value[key]:
            found = check_padded(value[key], scope, item, siblings)
        entry = self._node.keys.get(key)
        return merged(None, found, "." + (entry[0].name if entry else key))

    def _sibling(self, key: str, value: Mapping[str, Any], scope: StructureScope) -> IssueList | None:
        name = key[1:]
        entry = self._node.keys.get(name)
        if entry is None:
            return self._unknown(key)
        element, type_ref = entry
        if type_ref.code not in PRIMITIVES or element.node is not None:
            text = Message(
                "{name} is not primitive: its id and extensions are properties of its object, not of {key}",
                name=name,
                key=key,
            )
            return single_error("structure", text, segment(key))
        if self._is_attribute(element, type_ref):
            return single_error(
                "structure",
                Message("{name} has no id and no extensions, so {key} is not allowed", name=name, key=key),
                segment(key),
            )
        check = self._check_of("Element")
        if element.max == 1:
            part = check_sibling(value[key], scope, check, has_value=name in value)
        else:
            part = check_siblings(value[key], scope, check, value.get(name))
        if part is None and type_ref.code == "code":
            part = self._no_code(element, value[key], value.get(name))
        return merged(None, part, "." + element.name)

    def _no_code(self, element: Element, sibling: Any, value: Any) -> IssueList | None:
        """The errors of a code that has only extensions where a value set is required
        (https://hl7.org/fhir/R4/terminologies.html#required). sibling: the valid property `_name`."""
        if element.binding is None or element.binding.strength != "required":
            return None
        text = Message("no code; the required value set {value_set} requires one", value_set=element.binding.value_set)
        if element.max == 1:
            return single_error("code-invalid", text) if value is None else None
        found: IssueList | None = None
        for index, one in enumerate(sibling):
            if one is not None and (type(value) is not list or index >= len(value) or value[index] is None):
                found = merged(found, single_error("code-invalid", text), f"[{index}]")
        return found

    def _is_attribute(self, element: Element, type_ref: TypeRef) -> bool:
        """Whether an element has no id and extensions of its own: Element.id, Extension.url and XHTML."""
        return (
            (element.name == "id" and self._node.kind != "resource")
            or (element.name == "url" and self._node.path == "Extension")
            or type_ref.code == "xhtml"
        )

    def _unknown(self, key: str) -> IssueList:
        path = self._node.path
        plain = key.removeprefix("_")
        for name, keys in self._choices.items():
            if plain == name or (plain.startswith(name) and plain[len(name)].isupper()):
                text = Message(
                    "{key} is not a property of {path}; {name}[x] can be {keys}{hint}",
                    key=describe(key),
                    path=path,
                    name=name,
                    keys=listed(keys),
                    hint=near(key, keys),
                )
                return single_error("structure", text, segment(key))
        text = Message(
            "{key} is not a property of {path}{hint}", key=describe(key), path=path, hint=near(key, self._node.keys)
        )
        return single_error("structure", text, segment(key))
