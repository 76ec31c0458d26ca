"""Makes generated objects keep the invariants of R4, by removing, adding or regenerating the values that break them.

The invariants are those of the code under test; `test_base_invariants` compares them with another implementation.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Node
from fhirstore.errors import Issue
from fhirstore.validation.base_invariants import make_invariants
from fhirstore.validation.value_checks import Check, StructureScope

Make = Callable[[Node, str], dict[str, Any]]
"""(node, element name) -> the properties of a new value of the element."""
_STEP = re.compile(r"\.(`[^`]*`|\w+)|\[(\d+)\]")
_ROUNDS = 12


class Settler:
    def __init__(self, core: Definitions, make: Make):
        self._core, self._make = core, make
        self._checks: dict[str, Check | None] = {}

    def settle(self, node: Node, value: dict[str, Any]) -> None:
        """Changes an object in place until its own invariants hold, or nothing helps."""
        check = self._checks.setdefault(node.path, make_invariants(self._core, node))
        if check is None:
            return

        def faults(one: dict[str, Any]) -> int:
            found = check(one, StructureScope(one, in_transaction=False))
            return len(found.errors) if found else 0

        self._improve(node, value, faults)

    def _improve(self, node: Node, value: dict[str, Any], faults: Callable[[dict[str, Any]], int]) -> bool:
        now = faults(value)
        before = now
        for _ in range(_ROUNDS):
            if not now:
                break
            best = next((c for c in self._changed(node, value) if faults(c) < now), None)
            if best is None:
                break
            value.clear()
            value.update(best)
            now = faults(value)
        return now < before

    def _changed(self, node: Node, value: dict[str, Any]) -> Iterator[dict[str, Any]]:
        def without(name: str) -> dict[str, Any]:
            keys = {k for key, (e, _) in node.keys.items() if e.name == name for k in (key, "_" + key)}
            return {k: v for k, v in value.items() if k not in keys}

        present = [e for e in node.elements.values() if len(without(e.name)) < len(value)]
        for element in present:
            smaller = without(element.name)
            if not element.min and (smaller or node.kind == "resource"):
                yield smaller
        for element in node.elements.values():
            if element not in present and element.name not in ("contained", "extension", "modifierExtension", "id"):
                yield value | self._make(node, element.name)
        for element in present:
            for _ in range(25 if element.binding and element.binding.strength == "required" else 4):
                yield without(element.name) | self._make(node, element.name)
        for key, item in value.items():
            if type(item) is list and "_" + key not in value:
                yield value | {key: item + copy.deepcopy(item)}
        for one in present:
            for other in (e for e in node.elements.values() if e is not one and e.name in ("type", "name", "status")):
                if not one.min:
                    smaller = without(one.name)
                    for _ in range(6):
                        yield smaller | self._make(node, other.name)

    def prune(self, resource: dict[str, Any], validate: Callable[[Any], list[Issue]]) -> dict[str, Any]:
        """The resource, with the invariants that see more than one object."""
        for _ in range(40):
            issues = [i for i in validate(resource) if i.code == "invariant" and i.is_error]
            if not issues:
                break
            trail = list(self._trail(resource, issues[0].expression[0]))
            node, value = trail[-1]
            if not self._improve(node, value, lambda one, at=value: self._with(at, one, resource, validate)):
                for (outer, holder), (_, inner) in zip(trail[-2::-1], trail[:0:-1], strict=True):
                    key = next(k for k, v in holder.items() if v is inner or (type(v) is list and inner in v))
                    if not outer.keys[key][0].min:
                        del holder[key]
                        break
                else:
                    break
        return resource

    def _with(
        self, at: dict[str, Any], one: dict[str, Any], resource: dict[str, Any], validate: Callable[[Any], list[Issue]]
    ) -> int:
        """The errors of the resource when the object `at` in it looks like `one`."""
        before, after = dict(at), dict(one)
        at.clear()
        at.update(after)
        count = sum(i.is_error for i in validate(resource))
        at.clear()
        at.update(before)
        return count

    def _trail(self, resource: dict[str, Any], expression: str) -> Iterator[tuple[Node, dict[str, Any]]]:
        """The objects from the resource to the place of an issue."""
        node, value = self._core.node(resource["resourceType"]), resource
        assert node is not None
        yield node, value
        current: Any = value
        for name, index in _STEP.findall(expression[len(resource["resourceType"]) :]):
            if index:
                current = current[int(index)]
            else:
                key = next((k for k, (e, _) in node.keys.items() if e.name == name.strip("`") and k in current), None)
                if key is None:
                    return
                element, type_ref = node.keys[key]
                current = current[key]
                path = element.node or type_ref.code
            if type(current) is dict:
                found = self._core.node(current.get("resourceType", path))
                assert found is not None
                node = found
                yield node, current
