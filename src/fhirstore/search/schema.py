"""The schema of indexes, made from the Registry and the compound indexes of plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from fhirstore.capability.registry import Registry, SearchParam
from fhirstore.definitions.core import Definitions
from fhirstore.errors import StartupError
from fhirstore.fhirpath.search_expressions import compile_search_expression
from fhirstore.model.indexing import (
    CompoundIndex,
    IndexedParameter,
    ParameterKind,
    Schema,
)
from fhirstore.search.index import KINDS, VERSION
from fhirstore.search.values import IDENTIFIER, has_identifiers

# By kind of parameter, the types whose values can have several entries.
_MANY: Mapping[str, frozenset[str]] = {
    "token": frozenset(("CodeableConcept",)),
    "string": frozenset(("HumanName", "Address")),
    "reference": frozenset(("canonical",)),
    "uri": frozenset(("canonical",)),
    "number": frozenset(("Range",)),
    "quantity": frozenset(("Range",)),
}


def make_schema(registry: Registry, compounds: Iterable[CompoundIndex]) -> Schema:
    """The schema of `registry.indexed_types`. Compounds over parameters that are not indexed are ignored.

    Raises StartupError for a compound over a parameter that can have more than one entry."""
    core = registry.catalog.core
    types = {name: _specs(core, name, params) for name, params in registry.indexed_types.items()}
    return Schema(types, tuple(c for c in dict.fromkeys(compounds) if _applies(c, types)))


def _specs(core: Definitions, type: str, params: Mapping[str, SearchParam]) -> dict[str, IndexedParameter]:
    specs: dict[str, IndexedParameter] = {}
    for code, param in params.items():
        if param.type not in KINDS:
            continue
        values = compile_search_expression(core, type, param.expression).types
        digest = f"{VERSION}:{param.digest}"
        single = param.single and not values & _MANY.get(param.type, frozenset())
        identifying = code == "identifier" and param.type == "token"
        specs[code] = IndexedParameter(code, cast(ParameterKind, param.type), single, digest, identifying)
        if param.type == "reference" and has_identifiers(core, type, param):
            specs[code + IDENTIFIER] = IndexedParameter(code + IDENTIFIER, "token", param.single, digest)
    return specs


def _applies(compound: CompoundIndex, types: Mapping[str, Mapping[str, IndexedParameter]]) -> bool:
    specs = types.get(compound.type, {})
    if not all(code in specs for code in compound.params):
        return False
    for code in compound.params:
        if not specs[code].single:
            raise StartupError(
                f"the compound index ({', '.join(compound.params)}) on {compound.type} is not possible: "
                f"{compound.type} can have several entries for {code!r}. Use single-valued parameters only"
            )
    return True
