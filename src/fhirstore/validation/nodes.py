"""https://hl7.org/fhir/R4/validation.html: structure, cardinality, values and bindings, one check per type.

A check is compiled from the definitions when a type is first seen: a dict from JSON property to the check of its value,
filled as properties come up, so that a sound resource costs one look-up and one call per property. Faults are rare,
so everything that explains them stands apart from this path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element, Node, TypeRef
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.validation.arrays import check_array, check_sibling, check_siblings, repeated
from fhirstore.validation.base_invariants import make_invariants
from fhirstore.validation.bindings import bound, unlisted
from fhirstore.validation.findings import (
    Check,
    Container,
    Findings,
    Problem,
    describe,
    listed,
    near,
    refuse,
    segment,
    wrong_json,
)
from fhirstore.validation.primitives import PRIMITIVES, coded, written
from fhirstore.validation.references import reference_check


class Checks:
    """The compiled checks of all types of `core`, made on first use and kept.

    Threads may compile the same check at once; the results are alike and the last one stays.
    """

    def __init__(self, core: Definitions):
        self.core = core
        self._nodes: dict[str, Check] = {}

    def knows(self, name: Any) -> bool:
        """Whether `name` is a resource type."""
        return type(name) is str and name in self.core.resource_types

    def node(self, path: str) -> Check:
        """The check of JSON objects of the type or backbone `path`."""
        check = self._nodes.get(path)
        if check is None:
            node = self.core.node(path)
            if node is None:
                raise LookupError(f"The definitions have no type {path}.")
            check = self._nodes[path] = _compile(self, node)
        return check

    def resource(self, value: Any, container: Container | None = None) -> Findings | None:
        """Check a resource of any type; it stands by itself, that is in no `contained`."""
        if wrong := self._not_resource(value):
            return wrong
        in_transaction = container is not None and container.resource.get("type") == "transaction"
        return self.node(value["resourceType"])(value, Container(value, in_transaction))

    def contained(self, value: Any, container: Container) -> Findings | None:
        """Check a resource in `contained` (https://hl7.org/fhir/R4/references.html#contained)."""
        if wrong := self._not_resource(value):
            return wrong
        found = self.node(value["resourceType"])(value, container.within(value)) or Findings()
        if "contained" in value:
            text = "a contained resource contains no others; put them all into contained of the outermost one"
            found.errors.append(Problem("structure", text, ".contained"))
        if "id" not in value:
            text = "required, but missing: a contained resource is referred to as #id"
            found.errors.append(Problem("required", text, ".id"))
        return found if found.errors or found.warnings else None

    def _not_resource(self, value: Any) -> Findings | None:
        if type(value) is not dict:
            return wrong_json(value, "an object (a resource)")
        name = value.get("resourceType")
        if self.knows(name):
            return None
        if "resourceType" not in value:
            return refuse("structure", 'the property resourceType is missing, such as "resourceType": "Patient"')
        hint = near(name, self.core.resource_types) if type(name) is str else ""
        return refuse("invalid", f"{describe(name)} as resourceType is not a resource type of FHIR R4{hint}")

    def rule(self, node: Node, element: Element, type_ref: TypeRef) -> tuple[Check, Check]:
        """The check of one property, and that of one of its values: the same where it does not repeat."""
        item = self._item(node, element, type_ref)
        if element.max == 1:
            return item, item
        if element.name == "contained" and node.kind == "resource":
            return _unique_ids(repeated(item)), item
        return repeated(item), item

    def _item(self, node: Node, element: Element, type_ref: TypeRef) -> Check:
        if element.node is not None:
            return self.node(element.node)
        code = type_ref.code
        binding = element.binding
        required = binding.value_set if binding is not None and binding.strength == "required" else None
        if code in PRIMITIVES:
            codes = self.core.codes(required) if required else None
            if required is None:
                return PRIMITIVES[code]
            return coded(codes, required) if codes else self._unlisted(PRIMITIVES[code], required, code)
        if code == "Resource":
            contained = element.name == "contained" and node.kind == "resource"
            return self.contained if contained else self.resource
        check = self.node(code)
        if code == "Reference":
            return reference_check(check, self.core.resource_types, type_ref.targets)
        if required and code == "CodeableConcept" and (members := self.core.expansion(required)):
            return bound(check, members, required)
        return self._unlisted(check, required, code) if required and code == "CodeableConcept" else check

    def _unlisted(self, plain: Check, value_set: str, code: str) -> Check:
        """Of a required value set of R4 whose codes cannot be listed."""
        found = self.core.value_set(value_set) or {}
        systems = [part.get("system", "") for part in found.get("compose", {}).get("include", ())]
        if code == "code" and len(systems) == 1 and systems[0] in GRAMMARS:
            return written(value_set, GRAMMARS[systems[0]], systems[0])
        named = " and ".join(f"the code system {s}" for s in systems) or f"the value set {value_set}"
        return unlisted(plain, value_set, f"{named} is not at hand")


def _unique_ids(plain: Check) -> Check:
    def check(value: Any, container: Container) -> Findings | None:
        found = plain(value, container)
        if type(value) is not list or len(value) < 2:
            return found
        seen: set[str] = set()
        for index, resource in enumerate(value):
            id = resource.get("id") if type(resource) is dict else None
            if type(id) is str and id in seen:
                found = found or Findings()
                text = f"{describe(id)} is the id of another contained resource too; #id could mean both"
                found.errors.append(Problem("duplicate", text, f"[{index}].id"))
            elif type(id) is str:
                seen.add(id)
        return found

    return check


def _compile(checks: Checks, node: Node) -> Check:
    rules: dict[str, Check] = {}
    known = rules.get
    is_resource = node.kind == "resource"
    if is_resource:
        rules["resourceType"] = _nothing_to_check
    needed = tuple(e.name for e in node.elements.values() if e.min and not e.choice)
    needed_choices = tuple(e for e in node.elements.values() if e.min and e.choice)
    unusual = _Unusual(checks, node, rules)
    whole = _extension_rule(node) if node.path == "Extension" else None
    # of a primitive's id and extension; whether there is a value, only the property beside it tells
    has_value_elsewhere = node.path == "Element"
    invariants = make_invariants(checks.core, node)

    def check(value: Any, container: Container) -> Findings | None:
        if type(value) is not dict:
            return wrong_json(value, "an object")
        found: Findings | None = None
        for key, item in value.items():
            rule = known(key)
            if rule is None:
                part = unusual.property(key, value, container)
                place = ""
            else:
                part = rule(item, container)
                if part is None:
                    continue
                if "_" + key in value:
                    part = unusual.array_with_sibling(key, value, container, part)
                place = "." + key
            if part is not None:
                found = found or Findings()
                found.absorb(part, place)
                if found.full:
                    return found
        for name in needed:
            if name not in value and "_" + name not in value:
                found = found or Findings()
                found.errors.append(_missing(node.elements[name]))
        for element in needed_choices:
            if not unusual.chosen(element, value):
                found = found or Findings()
                found.errors.append(_missing(element))
        if len(value) < 2 and not is_resource and (part := _childless(value, has_value_elsewhere)):
            found = found or Findings()
            found.absorb(part, "")
        if whole is not None and (part := whole(value)):
            found = found or Findings()
            found.absorb(part, "")
        if invariants is not None and (found is None or not found.errors):
            part = invariants(value, container)
            if part is not None:
                found = found or Findings()
                found.absorb(part, "")
        return found

    return check


def _nothing_to_check(value: Any, container: Container) -> None:
    return None


def _missing(element: Element) -> Problem:
    types = listed({t.code for t in element.types}) or "BackboneElement"
    text = f"required, but missing; at least {element.min} wanted ({types})"
    return Problem("required", text, "." + element.name)


def _childless(value: Mapping[str, Any], has_value_elsewhere: bool) -> Findings | None:
    """ele-1: https://hl7.org/fhir/R4/element.html#Element.ele-1."""
    if not value:
        return refuse("structure", "the object is empty; leave the property out when there is no value")
    if "id" in value and not has_value_elsewhere:
        return refuse("invariant", "ele-1: the element has an id but neither a value nor children", rule="ele-1")
    return None


def _extension_rule(node: Node) -> Callable[[Mapping[str, Any]], Findings | None]:
    """ext-1: https://hl7.org/fhir/R4/extensibility.html#Extension.ext-1."""
    values = _with_siblings(key for key, (e, _) in node.keys.items() if e.choice)

    def check(value: Mapping[str, Any]) -> Findings | None:
        if values.isdisjoint(value):
            if "extension" not in value:
                return refuse(
                    "invariant", "ext-1: the extension has neither a value[x] nor extensions; give one", rule="ext-1"
                )
        elif "extension" in value:
            return refuse(
                "invariant", "ext-1: the extension has both a value[x] and extensions; give only one", rule="ext-1"
            )
        return None

    return check


def _with_siblings(keys: Any) -> frozenset[str]:
    return frozenset(name for key in keys for name in (key, "_" + key))


class _Unusual:
    """What the fast path of a node leaves aside: first sight of a property, choices, siblings, unknown names."""

    def __init__(self, checks: Checks, node: Node, rules: dict[str, Check]):
        self._checks = checks
        self._node = node
        self._rules = rules
        self._items: dict[str, Check] = {}
        self._choice_rules: dict[str, tuple[Check, Element]] = {}
        names = {e.name for e in node.elements.values() if e.choice}
        self._choices = {n: [k for k, (e, _) in node.keys.items() if e.name == n] for n in names}
        self._chosen = {n: _with_siblings(keys) for n, keys in self._choices.items()}

    def chosen(self, element: Element, value: Mapping[str, Any]) -> bool:
        """Whether the choice `element` is there, in whatever type."""
        return not self._chosen[element.name].isdisjoint(value)

    def property(self, key: str, value: Mapping[str, Any], container: Container) -> Findings | None:
        """Check the property `key` of `value`; the paths of the findings begin with it."""
        chosen = self._choice_rules.get(key)
        if chosen is not None:
            return self._choice(key, value, container, *chosen)
        entry = self._node.keys.get(key)
        if entry is None:
            return self._sibling(key, value, container) if key.startswith("_") else self._unknown(key)
        element, type_ref = entry
        rule, item = self._checks.rule(self._node, element, type_ref)
        if element.choice:
            self._choice_rules[key] = (rule, element)
            return self._choice(key, value, container, rule, element)
        if element.max != 1 and type_ref.code in PRIMITIVES:
            self._items[key] = item
        self._rules[key] = rule
        part = rule(value[key], container)
        if part is not None and "_" + key in value:
            part = self.array_with_sibling(key, value, container, part)
        return _below(part, "." + key)

    def array_with_sibling(
        self, key: str, value: Mapping[str, Any], container: Container, part: Findings
    ) -> Findings | None:
        """Look again at what was refused without regard to `_key`: an array of primitives may hold nulls then."""
        item = self._items.get(key)
        siblings = value["_" + key]
        if item is None or type(siblings) is not list:
            return part
        return check_array(value[key], container, item, siblings)

    def _choice(
        self, key: str, value: Mapping[str, Any], container: Container, rule: Check, element: Element
    ) -> Findings | None:
        return self._only_choice(key, value, element, _below(rule(value[key], container), "." + element.name))

    def _only_choice(
        self, key: str, value: Mapping[str, Any], element: Element, part: Findings | None
    ) -> Findings | None:
        """`part`, and the fault that there is another type of the choice too, told once, at the first of them."""
        names = self._chosen[element.name]
        given = list(dict.fromkeys(k.removeprefix("_") for k in value if k in names))
        if len(given) > 1 and key.removeprefix("_") == given[0]:
            part = part or Findings()
            text = f"only one type of {element.path} is allowed, not {' and '.join(given)}"
            part.errors.append(Problem("structure", text, "." + element.name))
        return part

    def _sibling(self, key: str, value: Mapping[str, Any], container: Container) -> Findings | None:
        name = key[1:]
        entry = self._node.keys.get(name)
        if entry is None:
            return self._unknown(key)
        element, type_ref = entry
        if type_ref.code not in PRIMITIVES or element.node is not None:
            text = f"{name} is not primitive: its id and extension stand inside of it, not in {key}"
            return refuse("structure", text, segment(key))
        if self._is_attribute(element, type_ref):
            return refuse("structure", f"{name} takes no id or extension, so there is no {key}", segment(key))
        place = "." + element.name
        check = self._checks.node("Element")
        if element.max == 1:
            part = check_sibling(value[key], container, check, has_value=name in value)
        else:
            part = check_siblings(value[key], container, check, value.get(name))
        part = _below(part, place)
        if element.choice and name not in value:
            return self._only_choice(key, value, element, part)
        return part

    def _is_attribute(self, element: Element, type_ref: TypeRef) -> bool:
        """Element.id, Extension.url and XHTML have no id or extension of their own."""
        return (
            (element.name == "id" and self._node.kind != "resource")
            or (element.name == "url" and self._node.path == "Extension")
            or type_ref.code == "xhtml"
        )

    def _unknown(self, key: str) -> Findings:
        path = self._node.path
        plain = key.removeprefix("_")
        for name, keys in self._choices.items():
            if plain == name or (plain.startswith(name) and plain[len(name)].isupper()):
                text = f"{describe(key)} is not a property of {path}; {name}[x] may be one of {listed(keys)}"
                return refuse("structure", text + near(key, keys), segment(key))
        text = f"{describe(key)} is not a property of {path}{near(key, self._node.keys)}"
        return refuse("structure", text, segment(key))


def _below(part: Findings | None, place: str) -> Findings | None:
    if part is None:
        return None
    whole = Findings()
    whole.absorb(part, place)
    return whole
