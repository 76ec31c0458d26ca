"""What is wrong in the contents of a package, found before it is installed rather than when it is first needed.

https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fhirstore.capability.search_parameters import ABSTRACT_BASES, SearchParameterDefinitions, unsupported_reason
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError
from fhirstore.packages.tighten import impossible, loosened
from fhirstore.validation.profiles import ProfileValidator

Resource = dict[str, Any]

_NARRATIVE = frozenset({"text", "meta", "id"})


class Finding(NamedTuple):
    """text: the file, the key and the fault. is_fault: it stops the installation; else the package can be used, but
    not all of it."""

    text: str
    is_fault: bool


def check_contents(catalog: Catalog, package: Package) -> Iterator[Finding]:
    """The findings in the package's profiles, extensions, search parameters and value sets. catalog: with the package
    in it."""
    validator, parameters = ProfileValidator(catalog), SearchParameterDefinitions(catalog)
    for resource in package.resources:
        where = catalog.file(resource) or package.label
        if resource["resourceType"] == "StructureDefinition":
            yield from _structure(catalog, validator, resource, where)
        elif resource["resourceType"] == "SearchParameter":
            yield from _parameter(catalog, parameters, resource, where)
        elif resource["resourceType"] == "ValueSet" and (circle := _circle(catalog, resource)):
            yield Finding(f"{where}: compose: the value set imports itself: {' -> '.join(circle)}", True)


def check_duplicates(package: Package, others: Sequence[Package]) -> Iterator[Finding]:
    """Canonicals that another package defines in the same version, but otherwise. Versions of one package may."""
    known = {_key(r): (p, r) for p in others if p.name != package.name for r in p.resources if "url" in r}
    for resource in package.resources:
        other = known.get(_key(resource)) if "url" in resource else None
        if other is not None and _substance(resource) != _substance(other[1]):
            kind, url, version = _key(resource)
            where, there = (p.where.get((kind, url), p.label) for p in (package, other[0]))
            yield Finding(f"{where}: url: {url} (version {version}) is defined otherwise by {there}", True)


def _key(resource: Resource) -> tuple[str, str, Any]:
    return resource["resourceType"], str(resource.get("url")), resource.get("version")


def _substance(resource: Resource) -> Resource:
    return {k: v for k, v in resource.items() if k not in _NARRATIVE}


# --- structures -------------------------------------------------------------------------------------


def _structure(catalog: Catalog, validator: ProfileValidator, resource: Resource, where: str) -> Iterator[Finding]:
    if not _elements(resource, "snapshot") and not _elements(resource, "differential"):
        yield Finding(f"{where}: neither snapshot nor differential has an element, so it defines nothing", True)
        return
    if resource.get("kind") == "logical" or resource.get("derivation") != "constraint":
        return  # logical models and types of their own: no resource is checked against them
    absent = _absent_base(catalog, resource)
    if absent is not None and catalog.has_structure(absent):
        lacks = f"{absent} is part of R4, but no package at hand holds its definition, so the profile cannot be checked"
        yield Finding(f"{where}: baseDefinition: {lacks}", False)
        return
    canonical = str(resource["url"]) + (f"|{resource['version']}" if "version" in resource else "")
    try:
        validator.compile(canonical)
    except StartupError as e:
        said = str(e)
        yield Finding(said if where in said else f"{where}: {said}", True)
    except RecursionError:
        yield Finding(f"{where}: the definitions are nested too deeply", True)
    else:
        yield from _against_base(catalog, validator, resource, where)


def _against_base(catalog: Catalog, validator: ProfileValidator, resource: Resource, where: str) -> Iterator[Finding]:
    base = validator.snapshot(catalog.meant(resource, "StructureDefinition", resource["baseDefinition"])).elements
    stated = _elements(resource, "differential")
    try:
        yield from [Finding(f"{where}: {text}", True) for text in impossible(stated, base, catalog.core)]
        yield from [Finding(f"{where}: {text}", False) for text in loosened(stated, base)]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        yield Finding(f"{where}: the differential cannot be read: {e!r}", True)


def _elements(resource: Resource, view: str) -> list[Any]:
    found = resource.get(view)
    elements = found.get("element") if isinstance(found, dict) else None
    return elements if isinstance(elements, list) else []


def _absent_base(catalog: Catalog, resource: Resource) -> str | None:
    """The first of its bases, however deep, whose definition is not at hand; None: all are, or they go in a circle."""
    seen: set[str] = set()
    base = resource.get("baseDefinition")
    core = catalog.core
    while isinstance(base, str) and base not in seen:
        seen.add(base)
        found = catalog.resource("StructureDefinition", base)
        if found is None:
            name = base.removesuffix("|" + core.version).rpartition("/")[2]
            is_type = base.startswith("http://hl7.org/fhir/StructureDefinition/") and core.node(name) is not None
            return None if is_type else base
        base = found.get("baseDefinition")
    return None


# --- value sets -------------------------------------------------------------------------------------


def _circle(catalog: Catalog, resource: Resource) -> list[str]:
    """The canonicals by which a value set comes back to itself; empty = it does not."""
    came_from: dict[int, Resource] = {}
    waiting = [resource]
    for one in waiting:  # grows meanwhile
        for canonical in _imports(one):
            found = catalog.resource("ValueSet", canonical)
            if found is None or id(found) in came_from:
                continue
            came_from[id(found)] = one
            if found is resource:
                way = [resource, one]
                while way[-1] is not resource:
                    way.append(came_from[id(way[-1])])
                return [str(r["url"]) for r in reversed(way)]
            waiting.append(found)
    return []


def _imports(value_set: Resource) -> list[str]:
    compose = value_set.get("compose")
    parts = [*compose.get("include", ()), *compose.get("exclude", ())] if isinstance(compose, dict) else []
    return [c for part in parts if isinstance(part, dict) for c in part.get("valueSet", ()) if isinstance(c, str)]


# --- search parameters ------------------------------------------------------------------------------


def _parameter(
    catalog: Catalog, parameters: SearchParameterDefinitions, resource: Resource, where: str
) -> Iterator[Finding]:
    definition = catalog.search_parameter(str(resource["url"]))
    if definition is None or resource.get("status") == "retired":
        return
    for base in definition.bases:
        if base not in ABSTRACT_BASES and base not in catalog.core.resource_types:
            yield Finding(f"{where}: base: {base!r} is no resource type of R4", True)
            return
    refusal = unsupported_reason(definition)
    if refusal:
        yield Finding(f"{where}: {definition.code}: it is not served: {refusal.partition(';')[0]}", False)
        return
    try:
        for base in parameters.bases(definition):
            parameters.compile(base, definition, where)
    except StartupError as e:
        yield Finding(str(e), True)
