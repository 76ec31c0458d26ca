"""What the definitions of FHIR R4 look like in memory: small frozen records, built once, shared by all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TypeRef:
    """One allowed type of an element. code: a FHIR type ("string", "Reference", "BackboneElement", "Resource"…).
    targets: for Reference and canonical the allowed resource types; empty = any."""

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
    """An element of a node. name: without "[x]". path: as in the specification ("Patient.contact.name",
    "Observation.value[x]"). max None = unbounded. node: path of the node that holds its children where these are
    defined in place or by contentReference ("Patient.contact"), else None (its types' own nodes apply)."""

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
    """A type ("Patient", "HumanName", "string") or a backbone inside one ("Patient.contact").

    elements: own and inherited, in the specification's order, by name without "[x]".
    keys: JSON property -> (element, type): "name", "valueQuantity"… ("_name" is not listed)."""

    path: str
    kind: str  # resource | complex-type | primitive-type | backbone
    base: str | None
    abstract: bool
    elements: Mapping[str, Element]
    keys: Mapping[str, tuple[Element, TypeRef]]
    invariants: tuple[Invariant, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchParameterDef:
    """A SearchParameter resource, read. bases: resource types ("Resource" and "DomainResource" are kept as such).
    targets: allowed resource types of a reference parameter; empty = any."""

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
    """A FHIR package: name, version, dependencies (name -> version) and its conformance resources as dicts.

    where: resource -> the file it came from, by (resourceType, url or id), for messages. digest: of the contents of its
    files; "" = not known."""

    name: str
    version: str
    dependencies: Mapping[str, str]
    resources: tuple[dict[str, Any], ...]
    where: Mapping[tuple[str, str], str] = field(default_factory=dict)
    digest: str = ""

    @property
    def label(self) -> str:
        """name#version, as package caches write it."""
        return f"{self.name}#{self.version}"
