"""https://hl7.org/fhir/R4/json.html: the check of a JSON object of one type or backbone.

A check maps each JSON property to the check of its value. The map is filled as properties occur, so a valid object
costs one look-up and one call per property. `_SlowPath` handles everything else: the first occurrence of a property,
choices, `_name` siblings and unknown properties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element, Node, TypeRef
from fhirstore.model.messages import Message, conjunction
from fhirstore.validation.arrays import check_array, check_sibling, check_siblings
from fhirstore.validation.base_invariants import make_invariants
from fhirstore.validation.issue_list import IssueList, merged, single_error, wrong_json
from fhirstore.validation.primitives import PRIMITIVES
from fhirstore.validation.structure_scope import Check, StructureScope
from fhirstore.validation.text import describe, listed, near, segment

PropertyChecks = Callable[[Node, Element, TypeRef], tuple[Check, Check]]
"""`TypeChecks.property_checks`"""
CheckOf = Callable[[str], Check]
"""`TypeChecks.check`"""
_ObjectRule = Callable[[Mapping[str, Any]], IssueList | None]


def compile_object(core: Definitions, node: Node, property_checks: PropertyChecks, check_of: CheckOf) -> Check:
    """The check of an object of the type `node`."""
    known: dict[str, Check] = {}
    if node.kind == "resource":
        known["resourceType"] = _no_issues
    slow_path = _SlowPath(node, property_checks, check_of, known)
    whole = _whole_object(node, slow_path)
    invariants = make_invariants(core, node)

    def check(value: Any, scope: StructureScope) -> IssueList | None:
        if type(value) is not dict:
            return wrong_json(value, Message("an object"))
        found: IssueList | None = None
        for key, item in value.items():
            rule = known.get(key)
            if rule is None:
                part = slow_path.property(key, value, scope)
                path = ""
            else:
                part = rule(item, scope)
                if part is None:
                    continue
                if "_" + key in value:
                    part = slow_path.array_with_sibling(key, value, scope, part)
                path = "." + key
            if part is not None:
                found = found or IssueList()
                found.merge(part, path)
                if found.is_full:
                    return found
        part = whole(value)
        if part is not None:
            found = merged(found, part)
        if invariants is not None and (found is None or not found.errors):
            part = invariants(value, scope)
            if part is not None:
                found = merged(found, part)
        return found

    return check


def _whole_object(node: Node, slow_path: _SlowPath) -> _ObjectRule:
    """The rule of an object as a whole: required elements, ele-1 and ext-1."""
    required = tuple(e.name for e in node.elements.values() if e.min and not e.choice)
    required_choices = tuple(e for e in node.elements.values() if e.min and e.choice)
    is_resource = node.kind == "resource"
    extension_rule = _extension_rule(node) if node.path == "Extension" else None
    # "Element" stands for the id and extensions of a primitive, whose value is in another property.
    has_value_elsewhere = node.path == "Element"

    def check(value: Mapping[str, Any]) -> IssueList | None:
        found: IssueList | None = None
        for name in required:
            if name not in value and "_" + name not in value:
                found = merged(found, _missing(node.elements[name]))
        for element in required_choices:
            if not slow_path.has_choice(element, value):
                found = merged(found, _missing(element))
        if len(value) < 2 and not is_resource and (part := _without_children(value, has_value_elsewhere)) is not None:
            found = merged(found, part)
        if extension_rule is not None and (part := extension_rule(value)) is not None:
            found = merged(found, part)
        return found

    return check


def _no_issues(value: Any, scope: StructureScope) -> None:
    return None


def _missing(element: Element) -> IssueList:
    types = listed({t.code for t in element.types}) or "BackboneElement"
    return single_error(
        "required",
        Message("missing; at least {min} required ({types})", min=element.min, types=types),
        "." + element.name,
    )


def _without_children(value: Mapping[str, Any], has_value_elsewhere: bool) -> IssueList | None:
    """ele-1: https://hl7.org/fhir/R4/element.html#Element.ele-1."""
    if not value:
        return single_error("structure", Message("the object is empty; omit the property if it has no value"))
    if "id" in value and not has_value_elsewhere:
        return single_error(
            "invariant", Message("ele-1: the element has an id but neither a value nor children"), rule="ele-1"
        )
    return None


def _extension_rule(node: Node) -> _ObjectRule:
    """ext-1: https://hl7.org/fhir/R4/extensibility.html#Extension.ext-1."""
    values = _with_siblings(key for key, (e, _) in node.keys.items() if e.choice)

    def check(value: Mapping[str, Any]) -> IssueList | None:
        if values.isdisjoint(value):
            if "extension" not in value:
                text = Message("ext-1: the extension has neither a value[x] nor extensions; provide one of them")
                return single_error("invariant", text, rule="ext-1")
        elif "extension" in value:
            text = Message("ext-1: the extension has both a value[x] and extensions; provide only one of them")
            return single_error("invariant", text, rule="ext-1")
        return None

    return check


def _with_siblings(keys: Any) -> frozenset[str]:
    return frozenset(name for key in keys for name in (key, "_" + key))


class _SlowPath:
    """known: the checks by property, to which it adds those of properties that occur for the first time."""

    def __init__(self, node: Node, property_checks: PropertyChecks, check_of: CheckOf, known: dict[str, Check]):
        self._node = node
        self._property_checks = property_checks
        self._check_of = check_of
        self._known = known
        self._items: dict[str, Check] = {}
        self._choice_checks: dict[str, tuple[Check, Element]] = {}
        names = {e.name for e in node.elements.values() if e.choice}
        self._choices = {n: [k for k, (e, _) in node.keys.items() if e.name == n] for n in names}
        self._choice_keys = {n: _with_siblings(keys) for n, keys in self._choices.items()}

    def has_choice(self, element: Element, value: Mapping[str, Any]) -> bool:
        """Whether an object has a value of the choice `element`, of any type."""
        return not self._choice_keys[element.name].isdisjoint(value)

    def property(self, key: str, value: Mapping[str, Any], scope: StructureScope) -> IssueList | None:
        """Checks the property `key` of an object. The paths of the issues start with it."""
        chosen = self._choice_checks.get(key)
        if chosen is not None:
            return self._choice(key, value, scope, *chosen)
        entry = self._node.keys.get(key)
        if entry is None:
            return self._sibling(key, value, scope) if key.startswith("_") else self._unknown(key)
        element, type_ref = entry
        check, item = self._property_checks(self._node, element, type_ref)
        if element.choice:
            self._choice_checks[key] = (check, element)
            return self._choice(key, value, scope, check, element)
        if element.max != 1 and type_ref.code in PRIMITIVES:
            self._items[key] = item
        self._known[key] = check
        part = check(value[key], scope)
        if part is not None and "_" + key in value:
            part = self.array_with_sibling(key, value, scope, part)
        return merged(None, part, "." + key)

    def array_with_sibling(
        self, key: str, value: Mapping[str, Any], scope: StructureScope, part: IssueList
    ) -> IssueList | None:
        """Checks an array of primitives again if it has a `_name` sibling, because it can contain nulls then."""
        item = self._items.get(key)
        siblings = value["_" + key]
        if item is None or type(siblings) is not list:
            return part
        return check_array(value[key], scope, item, siblings)

    def _choice(
        self, key: str, value: Mapping[str, Any], scope: StructureScope, check: Check, element: Element
    ) -> IssueList | None:
        return self._only_choice(key, value, element, merged(None, check(value[key], scope), "." + element.name))

    def _only_choice(
        self, key: str, value: Mapping[str, Any], element: Element, part: IssueList | None
    ) -> IssueList | None:
        """Adds the error that a choice has several types, once, at the first of them."""
        names = self._choice_keys[element.name]
        present = list(dict.fromkeys(k.removeprefix("_") for k in value if k in names))
        if len(present) > 1 and key.removeprefix("_") == present[0]:
            text = Message(
                "only one type of {path} is allowed, not {present}", path=element.path, present=conjunction(present)
            )
            part = merged(part, single_error("structure", text, "." + element.name))
        return part

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
        part = merged(None, part, "." + element.name)
        if element.choice and name not in value:
            return self._only_choice(key, value, element, part)
        return part

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
