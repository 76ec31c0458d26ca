"""From what is declared on a type to what is searched there: names resolved, the packages' own parameters added."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from fhirstore.capability.declared import DeclaredType, SaidParam
from fhirstore.capability.parameters import BUILT_IN, Parameters, beyond_core, conflict
from fhirstore.capability.walks import chain, is_walk
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.errors import StartupError

CONTROLS = (
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
"""Named in statements without a definition; they are part of every search."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A definition that a type is searched by. said: the statement's entry, None = a package's own addition."""

    definition: SearchParameterDef
    said: SaidParam | None
    where: str


@dataclass(slots=True)
class TypeSearch:
    """The searches of one type. params: by code. others: declared chains and controls, as entries of /metadata."""

    params: dict[str, Resolved] = field(default_factory=dict)
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    chains: list[SaidParam] = field(default_factory=list)


def resolve(catalog: Catalog, parameters: Parameters, declared: DeclaredType) -> TypeSearch:
    """Resolves the entries of searchParam and adds what packages define on the type.

    Raises StartupError for a name or canonical that nothing defines, for two meanings of one code, and for what the
    core cannot do."""
    search = TypeSearch()
    for said in declared.params:
        if said.name in CONTROLS and said.definition is None:
            search.others.setdefault(said.name, entry(said.name, said.type, None, said.documentation))
        elif said.definition is None and is_walk(said.name):
            search.chains.append(said)
        else:
            _add_declared(
                search, parameters, declared.name, said, _definition(catalog, parameters, declared.name, said)
            )
    _add_packaged(search, parameters, declared)
    for resolved in search.params.values():
        parameters.choose(declared.name, resolved.definition)
    return search


def chain_entry(parameters: Parameters, type: str, said: SaidParam) -> dict[str, Any]:
    """The /metadata entry of a declared chain; its type is that of the parameter at the end."""
    last = chain(parameters, type, said.name, said.where)[-1][1]
    return entry(said.name, last.type, None, said.documentation)


def entry(name: str, type: str, definition: str | None, documentation: str | None) -> dict[str, Any]:
    """An entry of CapabilityStatement.rest.resource.searchParam."""
    out = {"name": name, "definition": definition, "type": type, "documentation": documentation}
    return {key: value for key, value in out.items() if value is not None}


def _definition(catalog: Catalog, parameters: Parameters, type: str, said: SaidParam) -> SearchParameterDef:
    if said.definition is None:
        core = catalog.search_parameters_for(type).get(said.name)
        found = core or parameters.find(type, said.name, f"{said.where}.name")
        if found is None:
            raise StartupError(
                f"{said.where}.name: {said.name}: R4 defines no such search parameter on {type} "
                f"(it defines {', '.join(parameters.codes(type))}); give the canonical of its definition."
            )
        return found
    found = catalog.search_parameter(said.definition)
    if found is None:
        raise StartupError(f"{said.where}.definition: {_unknown(catalog, said.definition)}")
    if type not in parameters.bases(found):
        raise StartupError(
            f"{said.where}.definition: {said.definition} is for {', '.join(found.bases)}, not for {type}."
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
        f"{canonical} is not defined by R4 nor by any loaded package (loaded: {', '.join(packages) or 'none'}"
        + (f"; known and alike: {', '.join(near)}" if near else "")
        + "). What defines it is loaded with --plugin NAME, or installed with fhirstore package add."
    )


def _add_declared(
    search: TypeSearch, parameters: Parameters, type: str, said: SaidParam, definition: SearchParameterDef
) -> None:
    if definition.code in BUILT_IN:
        return
    refusal = beyond_core(definition)
    if refusal:
        raise StartupError(f"{said.where}: {definition.code}: {refusal}")
    if said.type != definition.type:
        raise StartupError(
            f"{said.where}.type: {said.type}, but its definition {definition.url} is of type {definition.type}."
        )
    known = search.params.get(definition.code)
    if known is not None and not parameters.same(type, known.definition, definition):
        raise StartupError(conflict(type, known.definition, definition, f"{known.where} and {said.where}"))
    if known is None or (
        parameters.is_packaged(type, definition) and not parameters.is_packaged(type, known.definition)
    ):
        search.params[definition.code] = Resolved(definition, said, said.where)


def _add_packaged(search: TypeSearch, parameters: Parameters, declared: DeclaredType) -> None:
    """What a package defines on a served type is served, unless the statement chose one of the definitions."""
    for code, definitions in parameters.packaged(declared.name).items():
        known = search.params.get(code)
        if code in BUILT_IN or (known is not None and parameters.is_packaged(declared.name, known.definition)):
            continue
        definition = parameters.agreed(declared.name, definitions, declared.where)
        if known is None:
            search.params[code] = Resolved(definition, None, declared.where)
        elif parameters.same(declared.name, known.definition, definition):
            search.params[code] = Resolved(definition, known.said, known.where)
        else:
            raise StartupError(conflict(declared.name, known.definition, definition, known.where))
