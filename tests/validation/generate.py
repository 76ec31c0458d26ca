"""Resources made from the definitions: minimal and maximal ones of any type, and the places for a fault in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

from settle import Settler

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element, Node, TypeRef
from fhirstore.validation.structure import StructureValidator

WRITTEN = {
    "http://hl7.org/fhir/ValueSet/mimetypes": "application/pdf",
    "http://hl7.org/fhir/ValueSet/currencies": "EUR",
}
"""A code of each required value set that a grammar makes."""

VALUES: dict[str, list[Any]] = {
    "base64Binary": ["c2FzIQ==", "AAAA\r\nBBBB"],
    "boolean": [True, False],
    "canonical": ["http://example.org/fhir/Questionnaire/1|2.0", "#q"],
    "code": ["abc", "two words"],
    "date": ["2024", "2024-02", "2024-02-29"],
    "dateTime": ["1999", "1999-12", "1999-12-31", "1999-12-31T23:59:60Z", "2024-02-29T00:00:00.123456-05:00"],
    "decimal": [0, -3, Decimal("1.50"), Decimal("1E-22")],
    "id": ["a", "A-1.b"],
    "instant": ["2024-02-29T10:00:00.000+02:00", "2015-02-07T13:28:17Z"],
    "integer": [0, -(2**31), 2**31 - 1],
    "markdown": ["# Title\n\n* one\n* two"],
    "oid": ["urn:oid:1.2.250.1.71"],
    "positiveInt": [1, 2**31 - 1],
    "string": ["text", " blanks ", "é 漢 😀", "tab\tline\r\n"],
    "time": ["00:00:00", "23:59:59.999"],
    "unsignedInt": [0, 2**31 - 1],
    "uri": ["http://example.org/", "urn:oid:1.2.3", "relative", "http://unitsofmeasure.org"],
    "url": ["https://example.org/fhir", "mailto:a@example.org"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
    "xhtml": ['<div xmlns="http://www.w3.org/1999/xhtml"><p>text</p></div>'],
}
"""Valid values of every primitive type."""


@dataclass(frozen=True)
class Place:
    """A property of an object inside a resource. path: its FHIRPath, without an index of its own."""

    node: Node
    parent: dict[str, Any]
    key: str
    element: Element
    type_ref: TypeRef
    path: str

    @property
    def repeats(self) -> bool:
        return self.element.max is None

    @property
    def is_primitive(self) -> bool:
        return self.type_ref.code in VALUES and self.element.node is None


class Generator:
    def __init__(self, core: Definitions, seed: int = 0):
        self._core = core
        self._random = Random(seed)
        self._settler = Settler(core, self._new)
        self._validate = StructureValidator(core).validate

    def minimal(self, resource_type: str) -> dict[str, Any]:
        """A resource with nothing but the required elements, and what invariants demand."""
        return self._settled({"resourceType": resource_type} | self._object(resource_type, depth=0))

    def maximal(self, resource_type: str, depth: int = 2) -> dict[str, Any]:
        """A resource with every element down to `depth` objects that invariants let stand beside the others, and the
        required ones below."""
        return self._settled({"resourceType": resource_type} | self._object(resource_type, depth))

    def _settled(self, resource: dict[str, Any]) -> dict[str, Any]:
        if resource["resourceType"] == "StructureDefinition":  # by chance no two elements fit each other
            resource |= {"kind": "logical", "type": "A", "differential": {"element": [{"id": "A", "path": "A"}]}}
            resource.pop("snapshot", None)
        return self._settler.prune(resource, self._validate)

    def _new(self, node: Node, name: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        self._add(out, node, node.elements[name], depth=0)
        return out

    def _object(self, path: str, depth: int) -> dict[str, Any]:
        node = self._core.node(path)
        assert node is not None, path
        out: dict[str, Any] = {}
        for element in node.elements.values():
            if element.min or (depth > 0 and element.name not in ("contained", "extension", "modifierExtension")):
                self._add(out, node, element, depth)
        if depth > 0 and "extension" in node.elements and path != "Extension":
            self._add(out, node, node.elements["extension"], depth)
        if path == "Extension" and not any(key.startswith("value") for key in out):
            out["valueBoolean"] = True
        elif path == "Extension":
            out.pop("extension", None)
        if not out and node.kind not in ("resource", "primitive-type"):
            optional = [e for e in node.elements.values() if e.name not in ("id", "extension", "modifierExtension")]
            self._add(out, node, optional[0], depth=0)
        self._settler.settle(node, out)
        return out

    def _add(self, out: dict[str, Any], node: Node, element: Element, depth: int) -> None:
        key, type_ref = self._random.choice(
            [(key, t) for key, (e, t) in node.keys.items() if e.name == element.name]
        )  # fmt: skip
        count = 1 if element.max == 1 or depth <= 0 else 2
        values = [self._value(element, type_ref, depth - 1) for _ in range(count)]
        out[key] = values[0] if element.max == 1 else values
        if depth > 0 and type_ref.code in VALUES and not is_attribute(node, element, type_ref):
            sibling = {"id": "s", "extension": [{"url": "http://example.org/e", "valueCode": "c"}]}
            if element.max == 1:
                out["_" + key] = sibling
            else:
                is_bound = element.binding is not None and element.binding.strength == "required"
                if not is_bound:  # a required value set needs a code, not an extension
                    out[key][0] = None
                out["_" + key] = [sibling, None]

    def _value(self, element: Element, type_ref: TypeRef, depth: int) -> Any:
        code = type_ref.code
        if element.node is not None:
            return self._object(element.node, depth)
        required = element.binding.value_set if element.binding and element.binding.strength == "required" else None
        if code == "code" and required and (codes := self._core.codes(required)):
            return self._random.choice(sorted(codes))
        if code == "code" and required:
            return WRITTEN[required]
        if code == "CodeableConcept" and required:
            members = self._core.expansion(required)
            if members is None:  # a coding would give a warning that its code system is not available
                return {"text": "a"}
            system, member = self._random.choice(sorted(members))
            return {"coding": [{"system": system, "code": member}]}
        if code in VALUES:
            return self._random.choice(VALUES[code])
        if code == "Resource":
            return {"resourceType": "Basic", "id": "b", "code": {"text": "nested"}}
        out = self._object(code, depth)
        if code == "Reference":
            target = self._random.choice(type_ref.targets or ("Patient",))
            out |= {"reference": f"{target}/1"}
            out.pop("type", None)
        return out

    def places(self, resource: dict[str, Any]) -> Iterator[Place]:
        """Every property of the resource and of the objects in it, but the nested resources' and `_name` siblings."""
        name = resource["resourceType"]
        yield from self._places(name, resource, name)

    def _places(self, path: str, value: dict[str, Any], where: str) -> Iterator[Place]:
        node = self._core.node(path)
        assert node is not None, path
        for key, part in value.items():
            if key not in node.keys:
                continue
            element, type_ref = node.keys[key]
            place = Place(node, value, key, element, type_ref, f"{where}.{element.name}")
            yield place
            if place.is_primitive or type_ref.code == "Resource":
                continue
            child = element.node or type_ref.code
            if isinstance(part, list):
                for index, item in enumerate(part):
                    yield from self._places(child, item, f"{place.path}[{index}]")
            else:
                yield from self._places(child, part, place.path)


def is_attribute(node: Node, element: Element, type_ref: TypeRef) -> bool:
    """What has no id and extension of its own: Element.id, Extension.url, XHTML."""
    return (
        type_ref.code == "xhtml"
        or (element.name == "id" and node.kind != "resource")
        or (element.name == "url" and node.path == "Extension")
    )
