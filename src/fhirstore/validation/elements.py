"""https://hl7.org/fhir/R4/profiling.html: the elements of a snapshot, compiled into rules.

Only constraints beyond R4 become rules; `structure` checks R4 itself. Values of the wrong JSON type are ignored here,
because they are reported there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.definitions.model import Element, TypeRef
from fhirstore.errors import StartupError
from fhirstore.model.messages import Message
from fhirstore.validation.cardinality import Cardinality
from fhirstore.validation.constraints import binding_rules, constraint_rules, profile_rule, target_rules
from fhirstore.validation.invariants import invariant_rules
from fhirstore.validation.issue_list import IssueList, ProfileElement, single_error
from fhirstore.validation.primitives import PRIMITIVES
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.rules import (
    PrimitiveRules,
    Rule,
    ValidationScope,
    choice,
    combine_rules,
    forbidden,
    in_own_scope,
    no_issues,
    object_rule,
    primitive,
    repeated,
    resource_type,
    single,
)
from fhirstore.validation.slicing import make_slicing
from fhirstore.validation.snapshot import Snapshot
from fhirstore.validation.text import listed
from fhirstore.validation.tree import ElementNode
from fhirstore.validation.value_rules import ANY_RESOURCE, no_value


def compile_snapshot(repository: ProfileRepository, snapshot: Snapshot, root: ElementNode) -> Rule:
    """The rule of a value of the type that the snapshot constrains.

    Raises StartupError for an element that R4 does not have, and for an invariant that cannot be compiled."""
    return _SnapshotCompiler(repository, snapshot).compile(root)


class _SnapshotCompiler:
    def __init__(self, repository: ProfileRepository, snapshot: Snapshot):
        self._repository = repository
        self._core = repository.core
        self._snapshot = snapshot
        self._where = snapshot.url

    def compile(self, root: ElementNode) -> Rule:
        name = self._snapshot.type
        rules = constraint_rules(root.definition, self._place(root))
        if name in self._core.resource_types or name in ANY_RESOURCE:
            rules.append(resource_type(name, self._core.is_a, self._where))
        if properties := self._object(root, name):
            rules.append(properties)
        rules += invariant_rules(self._repository, root.definition, name, self._where)
        return combine_rules(rules) or no_issues

    def _place(self, node: ElementNode) -> ProfileElement:
        return ProfileElement(node.id, self._where)

    # --- objects

    def _object(self, node: ElementNode, path: str) -> Rule | None:
        """The rule of an object of the type or backbone `path`, for the constraints on its children."""
        rules: list[Rule] = []
        type_node = self._core.node(path)
        for name, child in node.children.items():
            base = type_node.elements.get(name.removesuffix("[x]")) if type_node else None
            if base is None:
                raise StartupError(f"{self._snapshot.where}: {child.id}: {path} has no element {name}")
            rule = self._element(child, base)
            if rule is not None:
                rules.append(rule)
        return object_rule(tuple(rules)) if rules else None

    def _element(self, node: ElementNode, base: Element) -> Rule | None:
        """The rule of an object for its element `base`."""
        low = node.minimum() if node.minimum() > base.min else 0
        maximum = node.maximum()
        high = maximum if maximum is not None and (base.max is None or maximum < base.max) else None
        types = {t.code: t for t in base.types}
        allowed = {code for code in node.codes() if code in types} or set(types)
        if high == 0:
            return forbidden(self._place(node), base)
        rules = {code: self._item(node, code, base) for code in types if code in allowed}
        slicing = make_slicing(self._repository, node, list(types), self._slice_rule(base), self._where)
        cardinality = Cardinality(low, high, self._place(node), "." + base.name)
        if base.choice:
            narrowed = allowed if allowed != set(types) else None
            if not (low or narrowed or slicing or any(rules.values())):
                return None
            return choice(cardinality, base, rules, narrowed, slicing)
        code = base.types[0].code if base.types else "BackboneElement"
        item = rules.get(code)
        sibling = self._sibling(node) if code in PRIMITIVES else None
        if not (low or high is not None or item or slicing or sibling):
            return None
        if code in PRIMITIVES:
            no_value = self._no_value(node, base)
            return primitive(cardinality, base, PrimitiveRules(item, sibling, no_value, code), slicing)
        make = single if base.max == 1 else repeated
        return make(cardinality, base, item, slicing, code)

    def _slice_rule(self, base: Element) -> Callable[[ElementNode, str], Rule | None]:
        return lambda node, code: self._item(node, code, base)

    def _sibling(self, node: ElementNode) -> Rule | None:
        """The rule of the id and the extensions of a primitive."""
        children = {name: child for name, child in node.children.items() if name in ("id", "extension")}
        if not children:
            return None
        sibling = ElementNode(node.id, node.definition)
        sibling.children = children
        return self._object(sibling, "Element")

    # --- values

    def _item(self, node: ElementNode, code: str, base: Element) -> Rule | None:
        """The rule of one value of an element, for the type `code` of R4."""
        place = self._place(node)
        definition = node.definition
        rules = constraint_rules(definition, place)
        rules += self._binding(definition.get("binding", {}), code, base, place)
        if code in ANY_RESOURCE:
            rules += self._resources(node)
        path = base.node or (node.codes()[0] if code in ANY_RESOURCE and len(node.codes()) == 1 else code)
        if node.children and code not in PRIMITIVES and self._has_children(node, path):
            properties = self._object(node, path)
            if properties is not None:
                rules.append(in_own_scope(properties) if code in ANY_RESOURCE else properties)
        rules += invariant_rules(self._repository, definition, path, self._where)
        # Last, so that the element's own rule is reported if the profile of the type has the same one.
        if code not in ANY_RESOURCE:
            for named, entry in node.types():
                if named == code:
                    rules += self._typed(entry, code, base, place)
        return combine_rules(rules)

    def _has_children(self, node: ElementNode, path: str) -> bool:
        """Whether the type `path` has the children of a node. Those of an open choice can belong to another type."""
        type_node = self._core.node(path)
        return len(node.codes()) < 2 or (
            type_node is not None and all(name.removesuffix("[x]") in type_node.elements for name in node.children)
        )

    def _binding(self, binding: Mapping[str, Any], code: str, base: Element, place: ProfileElement) -> list[Rule]:
        if not binding or (self._is_inherited(binding, base) and "extension" not in binding):
            return []
        return binding_rules(binding, code, place, self._repository.text_only_severity)

    def _is_inherited(self, binding: Mapping[str, Any], base: Element) -> bool:
        """Whether R4 has the same binding."""
        own = base.binding
        value_set = str(binding.get("valueSet", "")).removesuffix("|" + self._core.version)
        return own is not None and (binding.get("strength"), value_set) == (own.strength, own.value_set)

    def _no_value(self, node: ElementNode, base: Element) -> Rule | None:
        """The rule of the extensions of a primitive without a value. None if the profile requires no value set."""
        binding = node.definition.get("binding", {})
        canonical = binding.get("valueSet")
        if not canonical or binding.get("strength") != "required" or self._is_inherited(binding, base):
            return None
        return no_value(canonical, self._place(node))

    def _typed(self, entry: Mapping[str, Any], code: str, base: Element, place: ProfileElement) -> list[Rule]:
        rules: list[Rule] = []
        if profiles := entry.get("profile"):
            rules.append(profile_rule(self._repository, profiles, place))
        if code == "Reference":
            own = next((t for t in base.types if t.code == code), TypeRef(code))
            rules += target_rules(self._repository, entry, own, place)
        return rules

    def _resources(self, node: ElementNode) -> list[Rule]:
        """The resource types that are allowed where R4 allows any, and the profiles to which each must conform."""
        place = self._place(node)
        by_type = {
            name: profile_rule(self._repository, profiles, place) if (profiles := entry.get("profile")) else no_issues
            for name, entry in node.types()
        }
        of_any_type = [by_type[name] for name in by_type if name in ANY_RESOURCE]
        if not by_type or (of_any_type and all(rule is no_issues for rule in by_type.values())):
            return []

        def check(value: Any, scope: ValidationScope) -> IssueList | None:
            found = value.get("resourceType") if type(value) is dict else None
            if type(found) is str and found in by_type:
                return by_type[found](value, scope)
            if of_any_type:
                return of_any_type[0](value, scope)
            text = Message("expected {name}, found {found}", name=listed(by_type), found=found)
            return single_error("structure", text, source=place.rule("type"))

        return [check]
