"""The declarations of a deployment: its statement merged with those that it instantiates and imports, unresolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirstore.capability.omissions import Omissions
from fhirstore.capability.sources import find_statement
from fhirstore.capability.statement_schema import check_statement, supported_part
from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError

FLAGS = (
    "versioning",
    "readHistory",
    "updateCreate",
    "conditionalCreate",
    "conditionalRead",
    "conditionalUpdate",
    "conditionalDelete",
    "referencePolicy",
    "documentation",
)


@dataclass(frozen=True, slots=True)
class DeclaredText:
    """A text of a statement. where: its place, such as "capability/x.json: rest[0].resource[3].searchInclude[1]".

    optional: an installed package declares it, so that it is left out if it cannot be supported (`Omissions`)."""

    text: str
    where: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredParameter:
    """An entry of searchParam. optional: see `DeclaredText`."""

    name: str
    type: str
    definition: str | None
    documentation: str | None
    where: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class DeclaredOperation:
    """An entry of operation. optional: see `DeclaredText`."""

    name: str
    definition: str
    documentation: str | None
    where: str
    optional: bool = False


@dataclass(slots=True)
class DeclaredType:
    """The declarations of all statements for one resource type, in the order of the statements.

    profile: the first `profile`. profiles: all values of `profile` and `supportedProfile`. flags: by their FHIR names;
    the first statement that sets a flag takes precedence."""

    name: str
    where: str
    interactions: dict[str, None] = field(default_factory=dict)
    params: list[DeclaredParameter] = field(default_factory=list)
    includes: list[DeclaredText] = field(default_factory=list)
    rev_includes: list[DeclaredText] = field(default_factory=list)
    profile: str | None = None
    profiles: list[DeclaredText] = field(default_factory=list)
    operations: list[DeclaredOperation] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Declarations:
    """The declarations of a deployment. rest: elements of the first rest that /metadata copies."""

    types: dict[str, DeclaredType] = field(default_factory=dict)
    interactions: dict[str, None] = field(default_factory=dict)
    operations: list[DeclaredOperation] = field(default_factory=list)
    formats: dict[str, None] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


def gather_declarations(catalog: Catalog, statement: dict[str, Any], where: str, omissions: Omissions) -> Declarations:
    """Merges the statement with those that it instantiates and imports, directly or not.

    Raises StartupError if a statement is malformed, unavailable, or declares an unsupported feature. Unsupported
    features in statements of installed packages are omitted instead."""
    declared = Declarations()
    for one, place, optional in _with_imports(catalog, statement, where, omissions):
        declared.formats |= dict.fromkeys(one["format"])
        servers = [(n, rest) for n, rest in enumerate(one.get("rest", ())) if rest["mode"] == "server"]
        if not servers:
            raise StartupError(f"{place}: rest: no entry has mode server.")
        reader = _StatementReader(declared, catalog, omissions, optional)
        for number, rest in servers:
            reader.add_rest(rest, f"{place}: rest[{number}]")
    if not declared.formats:
        declared.formats["json"] = None
    return declared


def _with_imports(
    catalog: Catalog, statement: dict[str, Any], where: str, omissions: Omissions
) -> Iterator[tuple[dict[str, Any], str, bool]]:
    """The statement and those that it names, depth first, each once: (statement, place, whether it is optional)."""
    waiting = [(statement, where)]
    seen: set[str] = set()
    while waiting:
        one, place = waiting.pop(0)
        if place in seen:
            continue
        seen.add(place)
        optional = catalog.is_installed(one)
        if optional:
            one = supported_part(one, catalog.core, place, omissions)
        else:
            check_statement(one, catalog.core, place)
        yield one, place, optional
        found = []
        for key in ("instantiates", "imports"):
            for number, text in enumerate(one.get(key, ())):
                with omissions.tolerate(optional):
                    found.append(_find(catalog, text, f"{place}: {key}[{number}]"))
        waiting[:0] = found


def _find(catalog: Catalog, reference: str, where: str) -> tuple[dict[str, Any], str]:
    found = find_statement(reference, catalog)
    if found is None:
        raise StartupError(
            f"{where}: no loaded package defines {reference}, and it is not built in. Load its package with --plugin "
            "NAME, or install it with fhirstore package add."
        )
    return found


class _StatementReader:
    """Adds the entries of one statement to `declared`. optional: see `DeclaredText`."""

    def __init__(self, declared: Declarations, catalog: Catalog, omissions: Omissions, optional: bool):
        self._declared, self._catalog = declared, catalog
        self._omissions, self._optional = omissions, optional

    def add_rest(self, rest: Mapping[str, Any], where: str) -> None:
        declared = self._declared
        for key in ("documentation", "security"):
            if key in rest:
                declared.rest.setdefault(key, rest[key])
        declared.interactions |= dict.fromkeys(i["code"] for i in rest.get("interaction", ()))
        declared.operations += self._operations(rest, where)
        common = self._parameters(rest, where)
        for number, resource in enumerate(rest.get("resource", ())):
            with self._omissions.tolerate(self._optional):
                self._add_resource(resource, common, f"{where}.resource[{number}]")

    def _add_resource(self, resource: Mapping[str, Any], common: list[DeclaredParameter], where: str) -> None:
        name = resource["type"]
        if name not in self._catalog.core.resource_types:
            raise StartupError(f"{where}.type: {name} is not a FHIR R4 resource type (names are case-sensitive).")
        target = self._declared.types.setdefault(name, DeclaredType(name, where))
        target.interactions |= dict.fromkeys(i["code"] for i in resource.get("interaction", ()))
        target.params += self._parameters(resource, where)
        target.params += common
        target.operations += self._operations(resource, where)
        target.includes += self._texts(resource, "searchInclude", where)
        target.rev_includes += self._texts(resource, "searchRevInclude", where)
        if "profile" in resource:
            target.profile = target.profile or resource["profile"]
            target.profiles.append(DeclaredText(resource["profile"], f"{where}.profile", self._optional))
        target.profiles += self._texts(resource, "supportedProfile", where)
        for flag in FLAGS:
            if flag in resource:
                target.flags.setdefault(flag, resource[flag])
        if target.flags.get("readHistory") is False and "vread" in target.interactions:
            raise StartupError(
                f"{where}.readHistory: false contradicts the interaction vread. fhirstore keeps all versions; remove "
                "vread to serve none of them."
            )

    def _texts(self, resource: Mapping[str, Any], key: str, where: str) -> list[DeclaredText]:
        return [
            DeclaredText(text, f"{where}.{key}[{number}]", self._optional)
            for number, text in enumerate(resource.get(key, ()))
        ]

    def _parameters(self, element: Mapping[str, Any], where: str) -> list[DeclaredParameter]:
        return [
            DeclaredParameter(
                name=param["name"],
                type=param["type"],
                definition=param.get("definition"),
                documentation=param.get("documentation"),
                where=f"{where}.searchParam[{number}]",
                optional=self._optional,
            )
            for number, param in enumerate(element.get("searchParam", ()))
        ]

    def _operations(self, element: Mapping[str, Any], where: str) -> list[DeclaredOperation]:
        return [
            DeclaredOperation(
                name=operation["name"],
                definition=operation["definition"],
                documentation=operation.get("documentation"),
                where=f"{where}.operation[{number}]",
                optional=self._optional,
            )
            for number, operation in enumerate(element.get("operation", ()))
        ]
