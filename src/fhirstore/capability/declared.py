"""What a deployment declares: its statement merged with all that it instantiates and imports, nothing resolved yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirstore.capability.shape import check_shape
from fhirstore.capability.sources import find_statement
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
class Said:
    """A text of a statement and its place: "capability/x.json: rest[0].resource[3].searchInclude[1]"."""

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class SaidParam:
    """An entry of searchParam."""

    name: str
    type: str
    definition: str | None
    documentation: str | None
    where: str


@dataclass(frozen=True, slots=True)
class SaidOperation:
    """An entry of operation."""

    name: str
    definition: str
    documentation: str | None
    where: str


@dataclass(slots=True)
class DeclaredType:
    """All that the statements say about one resource type, in the order of the statements.

    profile: the first one named as `profile`; profiles: all that are named, as `supportedProfile` too.
    flags: by their FHIR names; the statement that says something first decides."""

    name: str
    where: str
    interactions: dict[str, None] = field(default_factory=dict)
    params: list[SaidParam] = field(default_factory=list)
    includes: list[Said] = field(default_factory=list)
    rev_includes: list[Said] = field(default_factory=list)
    profile: str | None = None
    profiles: list[Said] = field(default_factory=list)
    operations: list[SaidOperation] = field(default_factory=list)
    flags: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Declared:
    """The deployment as declared. rest: the parts of the first rest that are shown as they are."""

    types: dict[str, DeclaredType] = field(default_factory=dict)
    interactions: dict[str, None] = field(default_factory=dict)
    operations: list[SaidOperation] = field(default_factory=list)
    formats: dict[str, None] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


def gather(catalog: Catalog, statement: dict[str, Any], where: str) -> Declared:
    """Merges the statement with what it instantiates and imports, however deep, each once.

    Raises StartupError for a statement that is malformed, asks for what the core cannot do, or is not at hand."""
    declared = Declared()
    for one, place in _closure(catalog, statement, where):
        declared.formats |= dict.fromkeys(one["format"])
        servers = [(n, rest) for n, rest in enumerate(one.get("rest", ())) if rest["mode"] == "server"]
        if not servers:
            raise StartupError(f"{place}: rest: nothing here has mode server, so there is nothing to serve.")
        for number, rest in servers:
            _add_rest(declared, catalog, rest, f"{place}: rest[{number}]")
    return declared


def _closure(catalog: Catalog, statement: dict[str, Any], where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The statement and all it names, depth first; a cycle ends where it closes."""
    waiting = [(statement, where)]
    seen: set[str] = set()
    while waiting:
        one, place = waiting.pop(0)
        if place in seen:
            continue
        seen.add(place)
        check_shape(one, catalog.core, place)
        yield one, place
        named = [(key, n, text) for key in ("instantiates", "imports") for n, text in enumerate(one.get(key, ()))]
        waiting[:0] = [_named(catalog, text, f"{place}: {key}[{n}]") for key, n, text in named]


def _named(catalog: Catalog, reference: str, where: str) -> tuple[dict[str, Any], str]:
    found = find_statement(reference, catalog)
    if found is None:
        raise StartupError(
            f"{where}: {reference} comes neither with fhirstore nor with a loaded package; "
            "the plugin that defines it is loaded with --plugin NAME."
        )
    return found


def _add_rest(declared: Declared, catalog: Catalog, rest: Mapping[str, Any], where: str) -> None:
    for key in ("documentation", "security"):
        if key in rest:
            declared.rest.setdefault(key, rest[key])
    declared.interactions |= dict.fromkeys(i["code"] for i in rest.get("interaction", ()))
    declared.operations += _said_operations(rest, where)
    everywhere = _said_params(rest, where)
    for number, resource in enumerate(rest.get("resource", ())):
        _add_resource(declared, catalog, resource, everywhere, f"{where}.resource[{number}]")


def _add_resource(
    declared: Declared, catalog: Catalog, resource: Mapping[str, Any], everywhere: list[SaidParam], where: str
) -> None:
    name = resource["type"]
    if name not in catalog.core.resource_types:
        raise StartupError(f"{where}.type: {name} is not a FHIR R4 resource type (names are case-sensitive).")
    into = declared.types.setdefault(name, DeclaredType(name, where))
    into.interactions |= dict.fromkeys(i["code"] for i in resource.get("interaction", ()))
    into.params += _said_params(resource, where)
    into.params += everywhere
    into.operations += _said_operations(resource, where)
    into.includes += _said(resource, "searchInclude", where)
    into.rev_includes += _said(resource, "searchRevInclude", where)
    if "profile" in resource:
        into.profile = into.profile or resource["profile"]
        into.profiles.append(Said(resource["profile"], f"{where}.profile"))
    into.profiles += _said(resource, "supportedProfile", where)
    for flag in FLAGS:
        if flag in resource:
            into.flags.setdefault(flag, resource[flag])
    if into.flags.get("readHistory") is False and "vread" in into.interactions:
        raise StartupError(
            f"{where}.readHistory: false contradicts the interaction vread: fhirstore keeps all versions; "
            "leave vread out to serve none of them."
        )


def _said(resource: Mapping[str, Any], key: str, where: str) -> list[Said]:
    return [Said(text, f"{where}.{key}[{number}]") for number, text in enumerate(resource.get(key, ()))]


def _said_params(part: Mapping[str, Any], where: str) -> list[SaidParam]:
    return [
        SaidParam(
            name=param["name"],
            type=param["type"],
            definition=param.get("definition"),
            documentation=param.get("documentation"),
            where=f"{where}.searchParam[{number}]",
        )
        for number, param in enumerate(part.get("searchParam", ()))
    ]


def _said_operations(part: Mapping[str, Any], where: str) -> list[SaidOperation]:
    return [
        SaidOperation(
            name=operation["name"],
            definition=operation["definition"],
            documentation=operation.get("documentation"),
            where=f"{where}.operation[{number}]",
        )
        for number, operation in enumerate(part.get("operation", ()))
    ]
