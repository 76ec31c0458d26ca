"""The search parameters of a type: the declared ones, resolved, and those that packages add."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from fhirstore.capability.chained_parameters import chain_steps, is_chain
from fhirstore.capability.declared import DeclaredParameter, DeclaredType
from fhirstore.capability.omissions import Omissions
from fhirstore.capability.search_parameters import (
    BUILT_IN,
    SearchParameterDefinitions,
    conflict_message,
    unsupported_reason,
)
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.errors import StartupError

CONTROL_PARAMETERS = (
    "_has",
    "_include",
    "_revinclude",
    "_sort",
    "_count",
    "_total",
    "_summary",
    "_elements",
    "_format",
    "_pretty",
)
"""Statements may name them without a definition; every search supports them."""


@dataclass(frozen=True, slots=True)
class ResolvedParameter:
    """The definition of a search parameter of a type. declared: the statement's entry, None if a package adds it."""

    definition: SearchParameterDef
    declared: DeclaredParameter | None
    where: str


@dataclass(slots=True)
class TypeSearches:
    """The searches of one type. params: by code. metadata_entries: declared chains and control parameters, by name."""

    params: dict[str, ResolvedParameter] = field(default_factory=dict)
    metadata_entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    chains: list[DeclaredParameter] = field(default_factory=list)


def resolve_searches(
    catalog: Catalog, parameters: SearchParameterDefinitions, declared: DeclaredType, omissions: Omissions
) -> TypeSearches:
    """Resolves the entries of searchParam and adds the parameters of packages.

    Raises StartupError for an undefined name or canonical, for different definitions of one code, and for an
    unsupported parameter. Optional entries are omitted instead."""
    search = TypeSearches()
    for param in declared.params:
        if param.name in CONTROL_PARAMETERS and param.definition is None:
            search.metadata_entries.setdefault(
                param.name, search_param_entry(param.name, param.type, None, param.documentation)
            )
        elif param.definition is None and is_chain(param.name):
            search.chains.append(param)
        else:
            with omissions.tolerate(param.optional):
                definition = _definition(catalog, parameters, declared.name, param)
                _add_declared(search, parameters, declared.name, param, definition)
    _add_packaged(search, parameters, declared)
    for resolved in search.params.values():
        parameters.choose(declared.name, resolved.definition)
    return search


def chain_entry(parameters: SearchParameterDefinitions, type: str, param: DeclaredParameter) -> dict[str, Any]:
    """The entry of a declared chain in /metadata; its type is that of the last parameter."""
    last = chain_steps(parameters, type, param.name, param.where)[-1][1]
    return search_param_entry(param.name, last.type, None, param.documentation)


def search_param_entry(name: str, type: str, definition: str | None, documentation: str | None) -> dict[str, Any]:
    """An entry of CapabilityStatement.rest.resource.searchParam."""
    out = {"name": name, "definition": definition, "type": type, "documentation": documentation}
    return {key: value for key, value in out.items() if value is not None}


def _definition(
    catalog: Catalog, parameters: SearchParameterDefinitions, type: str, param: DeclaredParameter
) -> SearchParameterDef:
    if param.definition is None:
        core = catalog.search_parameters_for(type).get(param.name)
        found = core or parameters.find(type, param.name, f"{param.where}.name")
        if found is None:
            raise StartupError(
                f"{param.where}.name: {param.name}: R4 does not define this search parameter for {type} (defined: "
                f"{', '.join(parameters.codes(type))}). State the canonical of its definition in "
                "searchParam.definition."
            )
        return found
    found = catalog.search_parameter(param.definition)
    if found is None:
        raise StartupError(f"{param.where}.definition: {_unknown(catalog, param.definition)}")
    if type not in parameters.bases(found):
        raise StartupError(
            f"{param.where}.definition: {param.definition} applies to {', '.join(found.bases)}, not to {type}."
        )
    return found


def _unknown(catalog: Catalog, canonical: str) -> str:
    packages = [f"{p.name} {p.version}" for p in catalog.packages]
    urls = [
        *catalog.core.search_parameters(),
        *(u for p in catalog.packages for k, u in p.where if k == "SearchParameter"),
    ]
    near = get_close_matches(canonical, urls, n=3)
    return (
        f"neither R4 nor a loaded package defines {canonical} (loaded packages: {', '.join(packages) or 'none'}"
        + (f"; similar canonicals: {', '.join(near)}" if near else "")
        + "). Load its package with --plugin NAME, or install it with fhirstore package add."
    )


def _add_declared(
    search: TypeSearches,
    parameters: SearchParameterDefinitions,
    type: str,
    param: DeclaredParameter,
    definition: SearchParameterDef,
) -> None:
    if definition.code in BUILT_IN:
        return
    refusal = unsupported_reason(definition)
    if refusal:
        raise StartupError(f"{param.where}: {definition.code}: {refusal}")
    if param.type != definition.type:
        raise StartupError(
            f"{param.where}.type: {param.type} differs from the type in the definition {definition.url}: "
            f"{definition.type}."
        )
    if param.optional:
        parameters.compile(type, definition, param.where)
    known = search.params.get(definition.code)
    if known is not None and not parameters.are_equivalent(type, known.definition, definition):
        raise StartupError(conflict_message(type, known.definition, definition, f"{known.where} and {param.where}"))
    if known is None or (
        parameters.is_packaged(type, definition) and not parameters.is_packaged(type, known.definition)
    ):
        search.params[definition.code] = ResolvedParameter(definition, param, param.where)


def _add_packaged(search: TypeSearches, parameters: SearchParameterDefinitions, declared: DeclaredType) -> None:
    """Adds the parameters that packages define for a served type, unless the statement chooses a definition."""
    for code, definitions in parameters.packaged(declared.name).items():
        known = search.params.get(code)
        if code in BUILT_IN or (known is not None and parameters.is_packaged(declared.name, known.definition)):
            continue
        definition = parameters.common_definition(declared.name, definitions, declared.where)
        if known is None:
            search.params[code] = ResolvedParameter(definition, None, declared.where)
        elif parameters.are_equivalent(declared.name, known.definition, definition):
            search.params[code] = ResolvedParameter(definition, known.declared, known.where)
        else:
            parameters.refuse(definition, conflict_message(declared.name, known.definition, definition, known.where))
