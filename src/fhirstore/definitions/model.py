"""The definitions of FHIR R4 in memory: immutable records, built once and shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TypeRef:
    """An allowed type of an element.

    code: a FHIR type ("string", "Reference", "BackboneElement", "Resource"…). targets: the allowed resource types of a
    Reference or canonical; empty = any."""

    code: str
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """strength: required | extensible | preferred | example. value_set: canonical, without version."""

    strength: str
    value_set: str


@dataclass(frozen=True, slots=True)
class Invariant:
    key: str
    severity: str  # error | warning
    human: str
    expression: str


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a node.

    name: without "[x]". path: as in the specification ("Patient.contact.name", "Observation.value[x]"). max: None =
    unbounded. node: path of the node with its children if they are defined in place or by contentReference
    ("Patient.contact"), else None: the nodes of its types apply."""

    name: str
    path: str
    min: int
    max: int | None
    types: tuple[TypeRef, ...]
    binding: Binding | None = None
    choice: bool = False
    node: str | None = None
    summary: bool = False
    modifier: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A type ("Patient", "HumanName", "string") or a backbone element of one ("Patient.contact").

    elements: own and inherited ones by name without "[x]", in the order of the specification. keys: JSON property ->
    (element, type): "name", "valueQuantity"… but not "_name"."""

    path: str
    kind: str  # resource | complex-type | primitive-type | backbone
    base: str | None
    abstract: bool
    elements: Mapping[str, Element]
    keys: Mapping[str, tuple[Element, TypeRef]]
    invariants: tuple[Invariant, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchParameterDef:
    """A parsed SearchParameter.

    bases: resource types; "Resource" and "DomainResource" are not expanded. targets: allowed resource types of a
    reference parameter; empty = any."""

    url: str
    code: str
    name: str
    type: str  # number | date | string | token | reference | composite | quantity | uri | special
    bases: tuple[str, ...]
    expression: str
    targets: tuple[str, ...] = ()
    components: tuple[tuple[str, str], ...] = ()  # composite: (definition canonical, expression)
    description: str = ""
    comparators: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()
    multiple_or: bool = True
    multiple_and: bool = True


@dataclass(frozen=True, slots=True)
class Package:
    """A FHIR package.

    dependencies: name -> version. resources: its conformance resources. where: (resourceType, url or id) -> file, for
    messages. digest: of the contents of its files; "" = unknown. problems: file -> why it is left out."""

    name: str
    version: str
    dependencies: Mapping[str, str]
    resources: tuple[dict[str, Any], ...]
    where: Mapping[tuple[str, str], str] = field(default_factory=dict)
    digest: str = ""
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """name#version, as in the caches of other FHIR tools."""
        return f"{self.name}#{self.version}"
