from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from fhirstore.definitions.core import Definitions, load
from fhirstore.definitions.model import Element, Node

WORDS = ("email", "phone", "home", "depends-on", "composed-of", "derived-from", "predecessor", "successor", "alpha")
PRIMITIVES: dict[str, Callable[[random.Random], Any]] = {
    "boolean": lambda r: r.random() < 0.5,
    "integer": lambda r: r.randrange(-5, 5),
    "positiveInt": lambda r: r.randrange(1, 9),
    "unsignedInt": lambda r: r.randrange(9),
    "decimal": lambda r: r.randrange(100),
    "date": lambda r: f"20{r.randrange(10, 30)}-05-17",
    "dateTime": lambda r: f"20{r.randrange(10, 30)}-05-17T10:00:00Z",
    "instant": lambda r: f"20{r.randrange(10, 30)}-05-17T10:00:00.000Z",
    "time": lambda r: "10:00:00",
    "xhtml": lambda r: "<div/>",
}


@pytest.fixture(scope="session")
def core() -> Definitions:
    return load()


@pytest.fixture(scope="session")
def sample(core: Definitions) -> Callable[[str, random.Random], dict[str, Any]]:
    """A resource of a type with almost every element filled, of a random type where there is a choice."""
    return lambda name, chance: Sampler(core, chance).resource(name)


class Sampler:
    def __init__(self, core: Definitions, chance: random.Random):
        self.core = core
        self.chance = chance

    def resource(self, name: str, depth: int = 5) -> dict[str, Any]:
        node = self.core.node(name)
        assert node is not None
        # What is contained gets its id first: references to "#c" find it.
        return {"resourceType": name} | self.fields(node, depth)

    def fields(self, node: Node, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for element in node.elements.values():
            if element.name in ("text", "language", "modifierExtension") or self.chance.random() < 0.1:
                continue
            if element.name in ("extension", "id") and node.kind != "resource":
                continue
            if depth <= 0 and element.min == 0:
                continue
            if element.name == "contained":
                made["contained"] = [{"resourceType": "Organization", "id": "c", "name": "N"}]
                continue
            key, code = self.chance.choice([(k, t.code) for k, (e, t) in node.keys.items() if e is element])
            count = 1 if element.max == 1 else self.chance.randrange(1, 3)
            values = [self.value(element, code, depth - 1) for _ in range(count)]
            made[key] = values[0] if element.max == 1 else values
        return made

    def value(self, element: Element, code: str, depth: int) -> Any:
        if code == "Resource":
            return {"resourceType": "Patient", "id": "p", "active": True}
        if code == "Reference":
            return self.reference(element)
        if code == "Extension":
            return {"url": f"http://example.org/{self.chance.choice('ab')}", "valueString": "x"}
        node = self.core.node(element.node or code)
        assert node is not None
        if node.kind != "primitive-type":
            return self.fields(node, depth)
        make = PRIMITIVES.get(code)
        return make(self.chance) if make else self.chance.choice(WORDS)

    def reference(self, element: Element) -> dict[str, Any]:
        targets = [t for ref in element.types for t in ref.targets] or sorted(self.core.resource_types)
        name = self.chance.choice(targets)
        form = self.chance.randrange(4)
        if form == 0:
            return {"reference": "#c"}
        if form == 1:
            return {"type": name, "identifier": {"value": "1"}}
        return {"reference": f"{'http://example.org/fhir/' if form == 2 else ''}{name}/1"}
