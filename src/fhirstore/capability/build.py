"""Statements -> Registry, once at start-up (https://hl7.org/fhir/R4/capabilitystatement.html, DESIGN §5)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fhirstore.capability.declared import DeclaredType, gather
from fhirstore.capability.metadata import effective_statement
from fhirstore.capability.operations import Additions, served_operations
from fhirstore.capability.parameters import BUILT_IN, Parameters
from fhirstore.capability.profiles import declared_profiles, packaged_profiles
from fhirstore.capability.registry import Registry, SearchParam, ServedType
from fhirstore.capability.served import TypeSearch, chain_entry, resolve
from fhirstore.capability.sources import read_statement
from fhirstore.capability.walks import chain, include
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import SearchParameterDef

__all__ = ["build_registry", "read_statement"]

ByType = dict[str, dict[str, SearchParam]]


def build_registry(catalog: Catalog, statement: dict[str, Any], where: str, able: Collection[str] = ()) -> Registry:
    """What a deployment with this statement serves, with all definitions of the catalog.

    where: the statement's file or name, for messages. able: the canonicals of the operations that plugins have
    functions for; those that a package defines are served without being declared. Raises StartupError, which names
    the statement and the JSON path, when the statement is malformed, asks for what the core cannot do, or names what no
    package defines."""
    declared = gather(catalog, statement, where)
    parameters = Parameters(catalog)
    searches = {name: resolve(catalog, parameters, one) for name, one in declared.types.items()}
    indexed: ByType = {
        name: {code: parameters.make(name, r.definition, r.where) for code, r in search.params.items()}
        for name, search in searches.items()
    }
    for name, one in declared.types.items():
        _imply(indexed, parameters, one, searches[name])
    packaged = packaged_profiles(catalog)
    additions = Additions(catalog, able)
    served = {
        name: _served(catalog, one, indexed[name], packaged.get(name, []), additions)
        for name, one in declared.types.items()
    }
    operations = served_operations(catalog, additions.of_system(served, declared.operations), None)
    return Registry(
        catalog=catalog,
        types=served,
        interactions=frozenset(declared.interactions),
        statement=effective_statement(statement, declared, served, searches, operations),
        indexed_types=indexed,
        operations=operations,
    )


def _imply(indexed: ByType, parameters: Parameters, declared: DeclaredType, search: TypeSearch) -> None:
    """Indexes the parameters that the type's declared chains and includes walk, on whatever type they are."""
    for said in search.chains:
        search.others[said.name] = chain_entry(parameters, declared.name, said)
        for type, definition in chain(parameters, declared.name, said.name, said.where):
            _index(indexed, parameters, type, definition, said.where)
    for wanted in (*declared.includes, *declared.rev_includes):
        for type, definition in include(parameters, wanted):
            _index(indexed, parameters, type, definition, wanted.where)


def _index(indexed: ByType, parameters: Parameters, type: str, definition: SearchParameterDef, where: str) -> None:
    params = indexed.setdefault(type, {})
    if definition.code not in params and definition.code not in BUILT_IN:
        params[definition.code] = parameters.make(type, definition, where, declared=False)


def _served(
    catalog: Catalog,
    declared: DeclaredType,
    params: dict[str, SearchParam],
    packaged_profiles: list[str],
    additions: Additions,
) -> ServedType:
    """Flags that no statement sets are off: what is not declared is refused."""
    profiles = dict.fromkeys([*declared_profiles(catalog, declared), *packaged_profiles])
    flags = declared.flags
    return ServedType(
        name=declared.name,
        interactions=frozenset(declared.interactions),
        params=params,
        includes=frozenset(i.text for i in declared.includes),
        rev_includes=frozenset(i.text for i in declared.rev_includes),
        profile=declared.profile,
        supported_profiles=tuple(p for p in profiles if p != declared.profile),
        versioning=flags.get("versioning", "versioned"),
        update_create=flags.get("updateCreate", False),
        conditional_create=flags.get("conditionalCreate", False),
        conditional_read=flags.get("conditionalRead", "not-supported"),
        conditional_update=flags.get("conditionalUpdate", False),
        conditional_delete=flags.get("conditionalDelete", "not-supported"),
        operations=served_operations(catalog, additions.of_type(declared.name, declared.operations), declared.name),
    )
