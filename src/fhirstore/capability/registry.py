"""The Registry: the types, interactions, search parameters, profiles and operations that a deployment serves.

`capability.build` creates it once at start-up; it is immutable. Routes, searches, validation and /metadata read it.
https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirstore.definitions.catalog import Catalog

Typed = tuple[str, Any]  # (FHIR type, JSON value): ("HumanName", {...}), ("code", "final")


@dataclass(frozen=True, slots=True)
class SearchParam:
    """A search parameter of one resource type.

    extract: resource -> [(FHIR type, value)], the values of its expression. single: a resource has at most one value.
    instant: all values are of type instant. targets: resource types of a reference; empty = any. declared: usable in
    queries; False if it is only indexed because a declared chain or include follows it. digest: of its definition.
    properties: JSON properties of the resource, one of which it must have to have a value; None if unknown."""

    code: str
    type: str
    url: str
    expression: str
    targets: tuple[str, ...]
    extract: Callable[[dict[str, Any]], list[Typed]]
    single: bool = False
    instant: bool = False
    declared: bool = True
    digest: str = ""
    properties: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class OperationParameter:
    """An in or out parameter of an OperationDefinition.

    types: allowed FHIR types of its value ("code", "Coding", "ValueSet"…); "Element" = any data type, "Resource" = any
    resource; empty if it has parts. max: None = unbounded. codes: those of a required binding, None = any."""

    name: str
    min: int
    max: int | None
    types: tuple[str, ...] = ()
    parts: Mapping[str, OperationParameter] = field(default_factory=dict)
    codes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ServedOperation:
    """An operation that a statement declares or a plugin adds.

    name: as in URLs, without "$". url: the canonical of its definition. system, type, instance: its levels.
    affects_state: None if the definition does not state it. inputs, outputs: by name. where: place of the declaration,
    for messages."""

    name: str
    url: str
    system: bool
    type: bool
    instance: bool
    affects_state: bool | None
    inputs: Mapping[str, OperationParameter]
    outputs: Mapping[str, OperationParameter]
    where: str
    documentation: str | None = None


@dataclass(frozen=True, slots=True)
class ServedType:
    """A resource type as this deployment serves it.

    interactions: codes of https://hl7.org/fhir/R4/valueset-type-restful-interaction.html.
    params: search parameters by code, including those that are only indexed (see SearchParam.declared), but not `_id`
    and `_lastUpdated`. includes, rev_includes: allowed values of `_include` and `_revinclude` in searches of this type
    ("Slot:schedule", "Schedule:actor:Location"); "*" = all. profile: enforced on write. operations: of the type and its
    instances, by name without "$"."""

    name: str
    interactions: frozenset[str]
    params: Mapping[str, SearchParam]
    includes: frozenset[str]
    rev_includes: frozenset[str]
    profile: str | None = None
    supported_profiles: tuple[str, ...] = ()
    versioning: str = "versioned-update"
    update_create: bool = True
    conditional_create: bool = True
    conditional_read: str = "full-support"
    conditional_update: bool = True
    conditional_delete: str = "single"
    operations: Mapping[str, ServedOperation] = field(default_factory=dict)

    def allows(self, interaction: str) -> bool:
        return interaction in self.interactions


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """What a deployment serves. Compared and hashed by identity.

    catalog: all available definitions. types: served types by name. interactions: of the system level (transaction,
    batch, history-system). statement: the effective CapabilityStatement without implementation.url and date.
    indexed_types: indexed search parameters by type and code, of types that are not served too. operations: of the
    system level, by name without "$"."""

    catalog: Catalog
    types: Mapping[str, ServedType]
    interactions: frozenset[str]
    statement: dict[str, Any]
    indexed_types: Mapping[str, Mapping[str, SearchParam]] = field(default_factory=dict)
    operations: Mapping[str, ServedOperation] = field(default_factory=dict)
