"""The Registry: what this deployment serves. Built once at start-up (`capability.build`), immutable, passed in.

Routes, searches, includes, validation and /metadata all read it and nothing else. See DESIGN §5 and
https://hl7.org/fhir/R4/capabilitystatement.html.
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

    extract: resource dict -> [(FHIR type, value)], the values its expression yields on a resource.
    single: no resource of the type can yield more than one value. instant: all its values are of type instant.
    targets: the resource types a reference may name; empty = any. declared: usable in queries (else it is only
    indexed because a declared chain or include walks it)."""

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


@dataclass(frozen=True, slots=True)
class OperationParameter:
    """A parameter of an OperationDefinition, in or out.

    types: allowed FHIR types of its value ("code", "Coding", "ValueSet"…); "Element" = any data type, "Resource" = any
    resource; empty = it has parts. max None = unbounded. codes: those of a required binding, None = any."""

    name: str
    min: int
    max: int | None
    types: tuple[str, ...] = ()
    parts: Mapping[str, OperationParameter] = field(default_factory=dict)
    codes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ServedOperation:
    """An operation that a statement declares. name: as in URLs, without "$". url: the canonical of its definition.
    system, type, instance: the levels that the definition gives it. affects_state None = the definition does not say.
    inputs and outputs: by name. where: the place of the declaration, for messages."""

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
    params: search parameters by code, indexed ones included (see SearchParam.declared); `_id` and `_lastUpdated`
    are not among them (every type has them). includes: allowed `_include` values for this type as the *source* of a
    search ("Slot:schedule", "Schedule:actor:Location"), "*" = all; the same for rev_includes.
    profiles: enforced (`profile`) first, then `supportedProfile`. operations: on the type and its instances, by name
    without "$"."""

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


@dataclass(frozen=True, slots=True)
class Registry:
    """types: served types by name. interactions: system level (transaction, batch, history-system, search-system).
    statement: the effective CapabilityStatement (mode server), without what only a running server knows
    (implementation.url, date). catalog: all definitions at hand. operations: system level, by name without "$"."""

    catalog: Catalog
    types: Mapping[str, ServedType]
    interactions: frozenset[str]
    statement: dict[str, Any]
    indexed_types: Mapping[str, Mapping[str, SearchParam]] = field(default_factory=dict)
    operations: Mapping[str, ServedOperation] = field(default_factory=dict)
