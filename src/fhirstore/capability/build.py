"""Builds the Registry from CapabilityStatements: https://hl7.org/fhir/R4/capabilitystatement.html."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fhirstore.capability.chained_parameters import chain_steps, include_steps
from fhirstore.capability.declared import DeclaredType, gather_declarations
from fhirstore.capability.metadata import effective_statement
from fhirstore.capability.omissions import Omissions
from fhirstore.capability.operations import PackagedOperations, served_operations
from fhirstore.capability.profiles import declared_profiles, packaged_profiles
from fhirstore.capability.registry import Registry, SearchParam, ServedType
from fhirstore.capability.search_parameters import BUILT_IN, SearchParameterDefinitions
from fhirstore.capability.sources import read_statement
from fhirstore.capability.type_searches import TypeSearches, chain_entry, resolve_searches
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import SearchParameterDef

__all__ = ["build_registry", "read_statement"]

ByType = dict[str, dict[str, SearchParam]]


def build_registry(
    catalog: Catalog,
    statement: dict[str, Any],
    where: str,
    implemented: Collection[str] = (),
    omissions: Omissions | None = None,
    built_in: Collection[str] | None = None,
) -> Registry:
    """The Registry of a deployment with this statement and the definitions of the catalog.

    where: the file or name of the statement, for messages. implemented: canonicals of the operations that plugins
    implement; they need not be declared if a package defines them. omissions: receives the reason for each definition
    and declaration of an installed package that is left out. built_in: canonicals of the operations that fhirstore
    implements, None = any. Raises StartupError, which names the statement and the JSON path, if another statement is
    malformed, or declares an unsupported feature or an undefined resource."""
    omissions = Omissions() if omissions is None else omissions
    for problem in catalog.problems:
        omissions.add(problem)
    declared = gather_declarations(catalog, statement, where, omissions)
    parameters = SearchParameterDefinitions(catalog, omissions)
    searches = {name: resolve_searches(catalog, parameters, one, omissions) for name, one in declared.types.items()}
    indexed: ByType = {
        name: {code: parameters.compile(name, r.definition, r.where) for code, r in search.params.items()}
        for name, search in searches.items()
    }
    for name, one in declared.types.items():
        _imply(indexed, parameters, one, searches[name], omissions)
    packaged = packaged_profiles(catalog)
    packaged_operations = PackagedOperations(catalog, implemented, built_in)
    served = {
        name: _served(catalog, one, indexed[name], packaged.get(name, []), packaged_operations, omissions)
        for name, one in declared.types.items()
    }
    of_system = packaged_operations.of_system(served, declared.operations)
    operations = served_operations(catalog, of_system, None, omissions, packaged_operations.are_implemented)
    return Registry(
        catalog=catalog,
        types=served,
        interactions=frozenset(declared.interactions),
        statement=effective_statement(statement, declared, served, searches, operations),
        indexed_types=indexed,
        operations=operations,
    )


def _imply(
    indexed: ByType,
    parameters: SearchParameterDefinitions,
    declared: DeclaredType,
    searches: TypeSearches,
    omissions: Omissions,
) -> None:
    """Indexes the parameters that the declared chains and includes of a type follow, on any type.

    Optional chains and includes that cannot be followed are removed."""
    for chained in searches.chains:
        with omissions.tolerate(chained.optional):
            for type, definition in chain_steps(parameters, declared.name, chained.name, chained.where):
                _index(indexed, parameters, type, definition, chained.where)
            searches.metadata_entries[chained.name] = chain_entry(parameters, declared.name, chained)
    for includes in (declared.includes, declared.rev_includes):
        for include in list(includes):
            includes.remove(include)
            with omissions.tolerate(include.optional):
                for type, definition in include_steps(parameters, include):
                    _index(indexed, parameters, type, definition, include.where)
                includes.append(include)


def _index(
    indexed: ByType, parameters: SearchParameterDefinitions, type: str, definition: SearchParameterDef, where: str
) -> None:
    params = indexed.setdefault(type, {})
    if definition.code not in params and definition.code not in BUILT_IN:
        params[definition.code] = parameters.compile(type, definition, where, declared=False)


def _served(
    catalog: Catalog,
    declared: DeclaredType,
    params: dict[str, SearchParam],
    packaged_profiles: list[str],
    packaged_operations: PackagedOperations,
    omissions: Omissions,
) -> ServedType:
    """Flags that no statement sets are off: the server refuses undeclared features."""
    declared_ones = declared_profiles(catalog, declared, omissions)
    if declared.profile not in declared_ones:
        declared.profile = None
    profiles = dict.fromkeys([*declared_ones, *packaged_profiles])
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
        operations=served_operations(
            catalog,
            packaged_operations.of_type(declared.name, declared.operations),
            declared.name,
            omissions,
            packaged_operations.are_implemented,
        ),
    )
