"""https://hl7.org/fhir/R4/searchparameter.html: the definitions of search parameters at hand, made usable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2s

from fhirstore.capability.registry import SearchParam
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.errors import StartupError
from fhirstore.fhirpath.search_expressions import compile_search_expression

KINDS = ("number", "date", "string", "token", "reference", "quantity", "uri")
ABSTRACT = ("Resource", "DomainResource")
BUILT_IN = ("_id", "_lastUpdated")
"""Every type has them; engines answer them from the row, not from index entries."""


class Parameters:
    """Finds definitions, those of packages before those of the core, and compiles them."""

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        self._packaged = self._read_packages()
        self._chosen: dict[tuple[str, str], SearchParameterDef] = {}

    def choose(self, type: str, definition: SearchParameterDef) -> None:
        """From now on its code means this definition on this type."""
        self._chosen[type, definition.code] = definition

    def find(self, type: str, code: str, where: str) -> SearchParameterDef | None:
        """The definition that a code without canonical means on a type: the chosen one, else a package's, else the
        core's. Raises StartupError when packages define it differently."""
        if (type, code) in self._chosen:
            return self._chosen[type, code]
        packaged = self.packaged(type).get(code)
        if packaged is not None:
            return self.agreed(type, packaged, where)
        return self._catalog.search_parameters_for(type).get(code)

    def codes(self, type: str) -> list[str]:
        """All codes that have a definition on a type, for messages."""
        return sorted({*self.packaged(type), *self._catalog.search_parameters_for(type)})

    def packaged(self, type: str) -> Mapping[str, list[SearchParameterDef]]:
        """What the packages define on a type, by code, without what no statement could declare."""
        return self._packaged.get(type, {})

    def is_packaged(self, type: str, definition: SearchParameterDef) -> bool:
        return any(d.url == definition.url for d in self.packaged(type).get(definition.code, ()))

    def agreed(self, type: str, definitions: list[SearchParameterDef], where: str) -> SearchParameterDef:
        """The first of several definitions of one code. Raises StartupError when their meanings differ."""
        first = definitions[0]
        for other in definitions[1:]:
            if not self.same(type, first, other):
                raise StartupError(conflict(type, first, other, where))
        return first

    def bases(self, definition: SearchParameterDef) -> list[str]:
        """The concrete resource types it is for."""
        core = self._catalog.core
        out: dict[str, None] = {}
        for base in definition.bases:
            if base == "Resource":
                out |= dict.fromkeys(sorted(core.resource_types))
            elif base == "DomainResource":
                out |= dict.fromkeys(t for t in sorted(core.resource_types) if self._is_domain_resource(t))
            else:
                out[base] = None
        return list(out)

    def same(self, type: str, one: SearchParameterDef, other: SearchParameterDef) -> bool:
        """Both mean the same on this type."""
        return one.type == other.type and self._meaning(type, one) == self._meaning(type, other)

    def make(self, type: str, definition: SearchParameterDef, where: str, *, declared: bool = True) -> SearchParam:
        """The parameter on one type. Raises StartupError for what the core cannot do."""
        refusal = beyond_core(definition)
        if refusal:
            raise StartupError(f"{where}: {definition.url}: {refusal}")
        meaning = self._meaning(type, definition)
        try:
            compiled = compile_search_expression(self._catalog.core, type, definition.expression)
        except ValueError as problem:
            raise StartupError(
                f"{self._file(definition) or where}: {definition.url}: expression {definition.expression!r} "
                f"on {type}: {problem}"
            ) from problem
        instant = compiled.types == {"instant"}
        targets = tuple(sorted(definition.targets))
        marks = (definition.code, definition.type, meaning, " ".join(targets), str(compiled.single), str(instant))
        return SearchParam(
            code=definition.code,
            type=definition.type,
            url=definition.url,
            expression=definition.expression,
            targets=targets,
            extract=compiled.extract,
            single=compiled.single,
            instant=instant,
            declared=declared,
            digest=blake2s("\n".join(marks).encode(), digest_size=8).hexdigest(),
        )

    def _meaning(self, type: str, definition: SearchParameterDef) -> str:
        """The branches of an expression that concern a type, spelt alike: "Slot.start" and "start" are one."""
        branches = []
        for branch in definition.expression.split("|"):
            root = re.match(r"[(\s]*([A-Z]\w*)\.", branch)
            name = root.group(1) if root else type
            if name == type or name in ABSTRACT:
                branches.append(re.sub(rf"\b{name}\.", "", re.sub(r"\s+", " ", branch.strip()), count=1))
            elif name not in self._catalog.core.resource_types:
                branches.append(branch.strip())
        return " | ".join(sorted(branches))

    def _is_domain_resource(self, type: str) -> bool:
        node = self._catalog.core.node(type)
        return node is not None and node.base == "DomainResource"

    def _read_packages(self) -> dict[str, dict[str, list[SearchParameterDef]]]:
        found: dict[str, dict[str, list[SearchParameterDef]]] = {}
        for resource in added_resources(self._catalog, "SearchParameter"):
            definition = self._catalog.search_parameter(str(resource.get("url")))
            if definition is None or resource.get("status") == "retired" or beyond_core(definition):
                continue
            for type in self.bases(definition):
                found.setdefault(type, {}).setdefault(definition.code, []).append(definition)
        return found

    def _file(self, definition: SearchParameterDef) -> str | None:
        resource = self._catalog.resource("SearchParameter", definition.url)
        return None if resource is None else self._catalog.file(resource)


def beyond_core(definition: SearchParameterDef) -> str | None:
    """Why the core cannot search with this definition; None = it can."""
    if definition.type not in KINDS:
        return (
            f"search parameters of type {definition.type} are beyond fhirstore; it can do {', '.join(KINDS)}. "
            "Take it out of the statement."
        )
    if not definition.expression.strip():
        return "it has no expression, so there is nothing to search on. Take it out of the statement."
    return None


def conflict(type: str, one: SearchParameterDef, other: SearchParameterDef, where: str) -> str:
    """The message for one code with two meanings."""
    return (
        f"{where}: search parameter {one.code} of {type} is defined twice with different meanings: "
        f"{one.url} ({one.type}: {one.expression}) and {other.url} ({other.type}: {other.expression}). "
        f"Name the package's definition in searchParam.definition of {type} in the deployment's statement."
    )
