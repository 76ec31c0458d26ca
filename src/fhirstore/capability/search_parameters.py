"""https://hl7.org/fhir/R4/searchparameter.html: the available definitions of search parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2s

from fhirstore.capability.omissions import Omissions
from fhirstore.capability.registry import SearchParam
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.errors import StartupError
from fhirstore.fhirpath.search_expressions import compile_search_expression

SUPPORTED_TYPES = ("number", "date", "string", "token", "reference", "quantity", "uri")
ABSTRACT_BASES = ("Resource", "DomainResource")
BUILT_IN = ("_id", "_lastUpdated")
"""Every type has them. Engines evaluate them on the row, not on index entries."""


class SearchParameterDefinitions:
    """Finds definitions and compiles them. Definitions of packages take precedence over those of R4.

    omissions: receives the definitions of installed packages that cannot be compiled, or that contradict another one
    of the same code. By default they raise StartupError when they are used."""

    def __init__(self, catalog: Catalog, omissions: Omissions | None = None):
        self._catalog, self._omissions = catalog, omissions
        self._packaged = self._read_packages()
        self._usable: dict[tuple[str, str], bool] = {}
        self._chosen: dict[tuple[str, str], SearchParameterDef] = {}

    def choose(self, type: str, definition: SearchParameterDef) -> None:
        """Makes `find` return this definition for its code on this type."""
        self._chosen[type, definition.code] = definition

    def find(self, type: str, code: str, where: str) -> SearchParameterDef | None:
        """The definition of a code on a type: the chosen one, else that of a package, else that of R4.

        Raises StartupError if packages define it differently."""
        if (type, code) in self._chosen:
            return self._chosen[type, code]
        packaged = self.packaged(type).get(code)
        if packaged is not None:
            return self.common_definition(type, packaged, where)
        return self._catalog.search_parameters_for(type).get(code)

    def codes(self, type: str) -> list[str]:
        """The codes of all definitions for a type, for messages."""
        return sorted({*self.packaged(type), *self._catalog.search_parameters_for(type)})

    def packaged(self, type: str) -> Mapping[str, list[SearchParameterDef]]:
        """The supported definitions of packages for a type, by code."""
        found = self._packaged.get(type, {})
        if self._omissions is None:
            return found
        usable = {code: [d for d in definitions if self._is_usable(type, d)] for code, definitions in found.items()}
        return {code: definitions for code, definitions in usable.items() if definitions}

    def is_installed(self, definition: SearchParameterDef) -> bool:
        """Whether the definition is that of an installed package."""
        return self._catalog.is_installed(self._catalog.resource("SearchParameter", definition.url))

    def is_packaged(self, type: str, definition: SearchParameterDef) -> bool:
        return any(d.url == definition.url for d in self.packaged(type).get(definition.code, ()))

    def common_definition(self, type: str, definitions: list[SearchParameterDef], where: str) -> SearchParameterDef:
        """The first definition of one code. Raises StartupError if the definitions are not equivalent; others of
        installed packages are omitted instead."""
        first = definitions[0]
        for other in definitions[1:]:
            if not self.are_equivalent(type, first, other):
                self.refuse(other, conflict_message(type, first, other, where))
        return first

    def refuse(self, definition: SearchParameterDef, text: str) -> None:
        """Omits a definition of an installed package. Raises StartupError with the text for another one."""
        if self._omissions is None or not self.is_installed(definition):
            raise StartupError(text)
        self._omissions.add(text)

    def bases(self, definition: SearchParameterDef) -> list[str]:
        """The concrete resource types that a definition applies to."""
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

    def are_equivalent(self, type: str, one: SearchParameterDef, other: SearchParameterDef) -> bool:
        """Whether both definitions have the same meaning on this type."""
        return one.type == other.type and self._meaning(type, one) == self._meaning(type, other)

    def compile(self, type: str, definition: SearchParameterDef, where: str, *, declared: bool = True) -> SearchParam:
        """The parameter of one type. Raises StartupError if it is unsupported."""
        refusal = unsupported_reason(definition)
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
        parts = (definition.code, definition.type, meaning, " ".join(targets), str(compiled.single), str(instant))
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
            digest=blake2s("\n".join(parts).encode(), digest_size=8).hexdigest(),
            properties=compiled.properties,
        )

    def _is_usable(self, type: str, definition: SearchParameterDef) -> bool:
        """False for a definition of an installed package that cannot be compiled, which is omitted."""
        key = (type, definition.url)
        if key not in self._usable:
            self._usable[key] = True
            if self.is_installed(definition):
                try:
                    self.compile(type, definition, definition.url)
                except StartupError as e:
                    self._usable[key] = False
                    self.refuse(definition, str(e))
        return self._usable[key]

    def _meaning(self, type: str, definition: SearchParameterDef) -> str:
        """The branches of an expression that apply to a type, normalised: "Slot.start" and "start" are equal."""
        branches = []
        for branch in definition.expression.split("|"):
            root = re.match(r"[(\s]*([A-Z]\w*)\.", branch)
            name = root.group(1) if root else type
            if name == type or name in ABSTRACT_BASES:
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
            if definition is None or resource.get("status") == "retired" or unsupported_reason(definition):
                continue
            for type in self.bases(definition):
                found.setdefault(type, {}).setdefault(definition.code, []).append(definition)
        return found

    def _file(self, definition: SearchParameterDef) -> str | None:
        resource = self._catalog.resource("SearchParameter", definition.url)
        return None if resource is None else self._catalog.file(resource)


def unsupported_reason(definition: SearchParameterDef) -> str | None:
    """Why the server cannot search with this definition; None if it can."""
    if definition.type not in SUPPORTED_TYPES:
        return (
            f"search parameters of type {definition.type} are not supported. Supported types: "
            f"{', '.join(SUPPORTED_TYPES)}. Remove it from the statement."
        )
    if not definition.expression.strip():
        return "it has no expression. Remove it from the statement."
    return None


def conflict_message(type: str, one: SearchParameterDef, other: SearchParameterDef, where: str) -> str:
    """The message for two definitions of one code."""
    return (
        f"{where}: search parameter {one.code} of {type} has two different definitions: "
        f"{one.url} ({one.type}: {one.expression}) and {other.url} ({other.type}: {other.expression}). "
        f"Choose one of them in searchParam.definition of {type} in the statement of the deployment."
    )
