"""The definitions of FHIR R4 (4.0.1, https://hl7.org/fhir/R4/downloads.html), read from the committed tables.

`tools/build_definitions.py` writes the tables. Files are read, and types, code systems and value sets decoded, on first
use. All returned objects are shared: do not change them.
"""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec

from fhirstore.definitions.model import Binding, Element, Invariant, Node, SearchParameterDef, TypeRef

DATA = Path(__file__).parent / "data"

SystemCode = tuple[str, str]  # (system, code)


class _NodeRow(msgspec.Struct):
    """base: the type whose elements come first. elements: rows as `_element` reads them.
    invariants: [key, severity, human, expression]."""

    base: str | None
    elements: list[tuple[str, str, list[str], str, str | None, str | None]]
    invariants: list[tuple[str, str, str, str]]


class _TypeRow(msgspec.Struct):
    kind: str
    abstract: bool
    nodes: dict[str, _NodeRow]


class _Structures(msgspec.Struct):
    version: str
    types: dict[str, msgspec.Raw]
    canonicals: frozenset[str]
    resources: tuple[str, ...]


_types = msgspec.json.Decoder(_TypeRow)
_all_structures = msgspec.json.Decoder(_Structures)
_parameters = msgspec.json.Decoder(list[SearchParameterDef])


class Definitions:
    """The R4 specification as tables; see `load`."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._decoded_profiles: dict[str, dict[str, Any]] = {}
        self._expansions: dict[str, frozenset[SystemCode] | None] = {}

    # --- structures

    @property
    def version(self) -> str:
        """The FHIR version, "4.0.1"."""
        return self._structures.version

    @cached_property
    def resource_types(self) -> frozenset[str]:
        """The names of the 146 concrete resource types."""
        return frozenset(self._structures.resources)

    @property
    def canonicals(self) -> frozenset[str]:
        """The urls of all StructureDefinitions: types, profiles, extensions."""
        return self._structures.canonicals

    def node(self, path: str) -> Node | None:
        """The type or backbone element at `path` ("Patient", "Patient.contact", "HumanName"), or None."""
        found = self._nodes.get(path)
        if found is None:
            type_name = path.partition(".")[0]
            raw = self._structures.types.get(type_name)
            if raw is not None:
                if type_name not in self._nodes:  # the type may be known while the path is not
                    self._nodes.update(self._build(type_name, _types.decode(raw)))
                found = self._nodes.get(path)
        return found

    def is_a(self, type_name: str, ancestor: str) -> bool:
        """Whether a type is `ancestor` or specialises it ("Age" is a "Quantity", "code" a "string")."""
        current: str | None = type_name
        while current is not None and current != ancestor:
            node = self.node(current)
            current = node.base if node else None
        return current is not None

    def _build(self, type_name: str, row: _TypeRow) -> dict[str, Node]:
        return {
            path: self._node(path, node, row.kind if path == type_name else "backbone", row.abstract)
            for path, node in row.nodes.items()
        }

    def _node(self, path: str, row: _NodeRow, kind: str, abstract: bool) -> Node:
        base = self.node(row.base) if row.base else None
        elements = {name: _inherited(e, path) for name, e in base.elements.items()} if base else {}
        elements |= {e[0]: _element(path, *e) for e in row.elements}
        own = tuple(Invariant(*i) for i in row.invariants)
        return Node(
            path=path,
            kind=kind,
            base=row.base,
            abstract=abstract and kind != "backbone",
            elements=elements,
            keys={key: (e, t) for e in elements.values() for key, t in _keys(e)},
            invariants=base.invariants + own if base else own,
        )

    def profile(self, canonical: str) -> dict[str, Any] | None:
        """A StructureDefinition of a profile or extension of R4 with its differential and without snapshot, or None.

        The same object on every call."""
        url = self._unversioned(canonical)
        found = self._decoded_profiles.get(url)
        if found is None and url in self._profiles:
            found = self._decoded_profiles[url] = _decode(self._profiles[url])
        return found

    @cached_property
    def _profiles(self) -> Mapping[str, msgspec.Raw]:
        return msgspec.json.decode(_read("profiles"), type=dict[str, msgspec.Raw])

    @cached_property
    def _structures(self) -> _Structures:
        return _all_structures.decode(_read("structures"))

    # --- search parameters

    def search_parameters(self) -> Mapping[str, SearchParameterDef]:
        """The 1381 search parameters with an expression, by url."""
        return self._search_parameters

    @cached_property
    def _search_parameters(self) -> Mapping[str, SearchParameterDef]:
        rows = _parameters.decode(_read("search-parameters"))
        return {row.url: row for row in rows}

    # --- terminology

    def expansion(self, value_set: str) -> frozenset[SystemCode] | None:
        """The (system, code) pairs of a value set that R4 binds as required to an element or operation parameter.

        value_set: a canonical. Returns None for other value sets, and if the codes cannot be enumerated (media types,
        UCUM)."""
        if value_set not in self._expansions:
            by_system = self._required.get(self._unversioned(value_set))
            self._expansions[value_set] = (
                None if by_system is None else frozenset((s, c) for s, codes in by_system.items() for c in codes)
            )
        return self._expansions[value_set]

    def codes(self, value_set: str) -> frozenset[str] | None:
        """The codes of `expansion` without their systems."""
        expansion = self.expansion(value_set)
        return None if expansion is None else frozenset(code for _, code in expansion)

    def code_system(self, url: str) -> dict[str, Any] | None:
        """A CodeSystem without narrative and definitions of concepts, or None."""
        return self._resource(self._code_systems, url)

    def concept_definitions(self, url: str) -> Mapping[str, str]:
        """The definitions of the concepts of a CodeSystem, by code."""
        raw = self._concept_definitions.get(url)
        return msgspec.json.decode(raw, type=dict[str, str]) if raw is not None else {}

    def concept_maps(self) -> Mapping[str, dict[str, Any]]:
        """The ConceptMaps, by url."""
        return self._concept_maps

    def value_set(self, url: str) -> dict[str, Any] | None:
        """A ValueSet with compose and without expansion, or None."""
        return self._resource(self._value_sets, url)

    @cached_property
    def _required(self) -> Mapping[str, Any]:
        return _decode(_read("expansions"))

    @cached_property
    def _code_systems(self) -> Mapping[str, msgspec.Raw]:
        return msgspec.json.decode(_read("code-systems"), type=dict[str, msgspec.Raw])

    @cached_property
    def _concept_definitions(self) -> Mapping[str, msgspec.Raw]:
        return msgspec.json.decode(_read("concept-definitions"), type=dict[str, msgspec.Raw])

    @cached_property
    def _concept_maps(self) -> Mapping[str, dict[str, Any]]:
        return msgspec.json.decode(_read("concept-maps"), type=dict[str, dict[str, Any]])

    @cached_property
    def _value_sets(self) -> Mapping[str, msgspec.Raw]:
        return msgspec.json.decode(_read("value-sets"), type=dict[str, msgspec.Raw])

    def _resource(self, table: Mapping[str, msgspec.Raw], canonical: str) -> dict[str, Any] | None:
        # The url of one code system contains a "|", so the canonical is looked up unsplit first.
        raw = table.get(canonical)
        if raw is not None:
            return _decode(raw)
        url, _, version = canonical.partition("|")
        raw = table.get(url) if version else None
        if raw is None:
            return None
        resource = _decode(raw)
        return resource if resource.get("version") == version else None

    def _unversioned(self, canonical: str) -> str:
        return canonical.removesuffix("|" + self.version)

    # --- compartments and operations

    def compartment(self, code: str) -> Mapping[str, tuple[str, ...]] | None:
        """Resource type -> codes of the search parameters that put a resource into a compartment ("Patient").

        Types that are never in it are omitted. Returns None for an unknown compartment."""
        return self._compartments.get(code)

    @cached_property
    def _compartments(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        return msgspec.json.decode(_read("compartments"), type=dict[str, dict[str, tuple[str, ...]]])

    def operations(self) -> Mapping[str, dict[str, Any]]:
        """The OperationDefinitions, by url."""
        return self._operations

    @cached_property
    def _operations(self) -> Mapping[str, dict[str, Any]]:
        return msgspec.json.decode(_read("operations"), type=dict[str, dict[str, Any]])


@cache
def load() -> Definitions:
    """The definitions; the same object on every call."""
    return Definitions()


# --- rows -> model ----------------------------------------------------------------------------------


def _read(name: str) -> bytes:
    return gzip.decompress((DATA / f"{name}.json.gz").read_bytes())


def _decode(data: bytes | msgspec.Raw) -> dict[str, Any]:
    return msgspec.json.decode(data, type=dict[str, Any])


def _element(
    parent: str, name: str, cardinality: str, types: list[str], flags: str, binding: str | None, node: str | None
) -> Element:
    """An element from a row of the table.

    name: without "[x]". cardinality: "0..*". types: "code" or "code(Target|Target)". flags: s(ummary), m(odifier),
    x (choice). binding: "strength value-set". node: path of the node with its children."""
    low, _, high = cardinality.partition("..")
    choice = "x" in flags
    strength, _, value_set = (binding or "").partition(" ")
    return Element(
        name=name,
        path=f"{parent}.{name}[x]" if choice else f"{parent}.{name}",
        min=int(low),
        max=None if high == "*" else int(high),
        types=tuple(_type_ref(t) for t in types),
        binding=Binding(strength, value_set) if binding else None,
        choice=choice,
        node=node,
        summary="s" in flags,
        modifier="m" in flags,
    )


@cache
def _type_ref(text: str) -> TypeRef:
    code, _, targets = text.removesuffix(")").partition("(")
    return TypeRef(code, tuple(targets.split("|")) if targets else ())


def _inherited(element: Element, parent: str) -> Element:
    """An element of a base type with the path that it has in the inheriting type."""
    return dataclasses.replace(element, path=parent + element.path[element.path.rindex(".") :])


def _keys(element: Element) -> list[tuple[str, TypeRef]]:
    if not element.choice:
        return [(element.name, element.types[0])]
    return [(element.name + t.code[0].upper() + t.code[1:], t) for t in element.types]
