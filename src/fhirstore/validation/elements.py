"""https://hl7.org/fhir/R4/profiling.html: the elements of a snapshot, compiled into rules.

Only what a profile says beyond R4 itself becomes a rule; the rest is checked by `structure`. Values of the wrong JSON
type are left alone here: they are reported there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fhirstore.definitions.model import Element, TypeRef
from fhirstore.errors import StartupError
from fhirstore.validation.coded import binding_rules
from fhirstore.validation.constraints import value_rules
from fhirstore.validation.findings import Findings, listed, refuse, warn
from fhirstore.validation.invariants import invariant_rules
from fhirstore.validation.primitives import PRIMITIVES
from fhirstore.validation.properties import Count, choice, forbidden, primitive, repeated, single
from fhirstore.validation.scope import Rule, Scope, together
from fhirstore.validation.slicing import make_slicing
from fhirstore.validation.snapshot import Snapshot
from fhirstore.validation.targets import target_rules
from fhirstore.validation.tree import Part

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository

_ABSTRACT = frozenset({"Resource", "DomainResource"})


def compile_snapshot(structures: ProfileRepository, snapshot: Snapshot, root: Part) -> Rule:
    """The rule of a value of the type that the snapshot constrains.

    Raises StartupError for an element that R4 does not know, and for an invariant that cannot be read."""
    return _Compiler(structures, snapshot).whole(root)


class _Compiler:
    def __init__(self, structures: ProfileRepository, snapshot: Snapshot):
        self._structures = structures
        self._core = structures.core
        self._snapshot = snapshot
        self._where = snapshot.url

    def whole(self, root: Part) -> Rule:
        name = self._snapshot.type
        rules = value_rules(root.definition, self._label(root))
        if name in self._core.resource_types or name in _ABSTRACT:
            rules.append(self._of_type(name))
        if parts := self._object(root, name):
            rules.append(parts)
        rules += invariant_rules(self._structures, root.definition, name, self._where)
        return together(rules) or _nothing

    def _label(self, part: Part) -> str:
        return f"{part.id} in {self._where}"

    def _of_type(self, name: str) -> Rule:
        core, where = self._core, self._where

        def check(value: Any, scope: Scope) -> Findings | None:
            given = value.get("resourceType") if type(value) is dict else None
            if given == name or (type(given) is str and core.is_a(given, name)):
                return None
            return refuse("structure", f"{given} where {name} is wanted [type of {where}]")

        return check

    # --- objects

    def _object(self, part: Part, path: str) -> Rule | None:
        """The rule of an object of the type or backbone `path`, for what `part` says of its parts."""
        rules: list[Rule] = []
        node = self._core.node(path)
        for name, inner in part.parts.items():
            base = node.elements.get(name.removesuffix("[x]")) if node else None
            if base is None:
                raise StartupError(f"{self._snapshot.where}: {inner.id}: {path} has no element {name}")
            rule = self._element(inner, base)
            if rule is not None:
                rules.append(rule)
        every = tuple(rules)
        if not every:
            return None

        def check(value: Any, scope: Scope) -> Findings | None:
            if type(value) is not dict:
                return None
            found: Findings | None = None
            for rule in every:
                part = rule(value, scope)
                if part is not None:
                    if found is None:
                        found = part
                    else:
                        found.absorb(part, "")
                    if found.full:
                        break
            return found

        return check

    def _element(self, part: Part, base: Element) -> Rule | None:
        """The rule of an object for its element `base`."""
        low = part.minimum() if part.minimum() > base.min else 0
        maximum = part.maximum()
        high = maximum if maximum is not None and (base.max is None or maximum < base.max) else None
        types = {t.code: t for t in base.types}
        allowed = {code for code in part.codes() if code in types} or set(types)
        if high == 0:
            return forbidden(part, base, self._where)
        rules = {code: self._item(part, code, base) for code in types if code in allowed}
        slicing = make_slicing(self._structures, part, list(types), self._slice_rule(base), self._where)
        count = Count(low, high, part.id, self._where, base.name)
        if base.choice:
            narrowed = allowed if allowed != set(types) else None
            if not (low or narrowed or slicing or any(rules.values())):
                return None
            return choice(count, base, rules, narrowed, slicing)
        code = base.types[0].code if base.types else "BackboneElement"
        item = rules.get(code)
        if code in PRIMITIVES:
            sibling = self._sibling(part)
            if low or high is not None or item or slicing or sibling:
                return primitive(count, base, item, sibling, slicing, code)
            return None
        if not (low or high is not None or item or slicing):
            return None
        return repeated(count, base, item, slicing, code) if base.max != 1 else single(count, base, item, slicing, code)

    def _slice_rule(self, base: Element) -> Callable[[Part, str], Rule | None]:
        return lambda part, code: self._item(part, code, base)

    def _sibling(self, part: Part) -> Rule | None:
        """The rule of id and extension of a primitive."""
        parts = {name: inner for name, inner in part.parts.items() if name in ("id", "extension")}
        if not parts:
            return None
        around = Part(part.id, part.definition)
        around.parts = parts
        return self._object(around, "Element")

    # --- values

    def _item(self, part: Part, code: str, base: Element) -> Rule | None:
        """The rule of one value of an element, of the type `code` of R4."""
        label = self._label(part)
        definition = part.definition
        rules = value_rules(definition, label)
        rules += self._binding(definition.get("binding", {}), code, base, label)
        if code in _ABSTRACT:
            rules += self._resources(part)
        path = base.node or (part.codes()[0] if code in _ABSTRACT and len(part.codes()) == 1 else code)
        if part.parts and code not in PRIMITIVES and self._fits(part, path) and (parts := self._object(part, path)):
            rules.append(_inside(parts) if code in _ABSTRACT else parts)
        rules += invariant_rules(self._structures, definition, path, self._where)
        # last, so that of a rule that stands here and in the profile of the type, the one here is told
        if code not in _ABSTRACT:
            for named, entry in part.types():
                if named == code:
                    rules += self._typed(entry, code, base, label)
        return together(rules)

    def _fits(self, part: Part, path: str) -> bool:
        """Whether the parts are those of the type `path`; of a choice that is not narrowed they may be another's."""
        node = self._core.node(path)
        return len(part.codes()) < 2 or (
            node is not None and all(name.removesuffix("[x]") in node.elements for name in part.parts)
        )

    def _binding(self, binding: Mapping[str, Any], code: str, base: Element, label: str) -> list[Rule]:
        own = base.binding
        value_set = str(binding.get("valueSet", "")).removesuffix("|" + self._core.version)
        same = own is not None and (binding.get("strength"), value_set) == (own.strength, own.value_set)
        if not binding or (same and "extension" not in binding):
            return []
        return binding_rules(binding, code, label, self._structures.text_only_severity)

    def _typed(self, entry: Mapping[str, Any], code: str, base: Element, label: str) -> list[Rule]:
        rules: list[Rule] = []
        if profiles := entry.get("profile"):
            rules.append(conforming(self._structures, profiles, label))
        if code == "Reference":
            own = next((t for t in base.types if t.code == code), TypeRef(code))
            rules += target_rules(self._structures, entry, own, label)
        return rules

    def _resources(self, part: Part) -> list[Rule]:
        """Which resource types may stand where R4 allows any, and the profiles that each must conform to."""
        label = self._label(part)
        by_type = {
            name: conforming(self._structures, profiles, label) if (profiles := entry.get("profile")) else _nothing
            for name, entry in part.types()
        }
        every = [by_type[name] for name in by_type if name in _ABSTRACT]
        if not by_type or (every and all(rule is _nothing for rule in by_type.values())):
            return []

        def check(value: Any, scope: Scope) -> Findings | None:
            given = value.get("resourceType") if type(value) is dict else None
            if type(given) is str and given in by_type:
                return by_type[given](value, scope)
            if every:
                return every[0](value, scope)
            return refuse("structure", f"{given} where {listed(by_type)} is wanted [type of {label}]")

        return [check]


def conforming(structures: ProfileRepository, profiles: list[str], label: str) -> Rule:
    """The rule that a value conforms to one of the profiles. One that is not at hand, and not of R4 itself, gives a
    warning that names it."""
    known = [url for url in profiles if structures.known(url)]
    unknown = [url for url in profiles if not structures.known(url) and not structures.of_r4(url)]
    text = f"not checked: {', '.join(unknown)} not at hand [profile of {label}]"

    demand = f" [profile of {label}]"

    def check(value: Any, scope: Scope) -> Findings | None:
        inner = scope.around(value)
        first: Findings | None = None
        for url in known:
            found = structures.rule(url)(value, inner)
            if found is None:
                scope.clean.add((id(value), url))
                return None
            if inner is not scope:
                for problem in (*found.errors, *found.warnings):
                    problem.text += demand
            if not found.errors:
                return found
            first = first or found
        if unknown:
            return warn("not-supported", text)
        return first if len(known) == len(profiles) else None

    return check


def _inside(rule: Rule) -> Rule:
    """The rule in the scope of the resource that the value is."""
    return lambda value, scope: rule(value, scope.around(value))


def _nothing(value: Any, scope: Scope) -> Findings | None:
    return None
