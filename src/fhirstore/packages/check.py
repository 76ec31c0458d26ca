"""Checks the contents of a package before it is installed.

https://hl7.org/fhir/R4/profiling.html, https://hl7.org/fhir/R4/searchparameter.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fhirstore.capability.search_parameters import ABSTRACT_BASES, SearchParameterDefinitions, unsupported_reason
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.model import Package
from fhirstore.definitions.parameters import read_search_parameter
from fhirstore.errors import StartupError
from fhirstore.packages.differentials import contradictions, relaxations
from fhirstore.validation.validator import ProfileValidator

Resource = dict[str, Any]

_IGNORED = frozenset({"text", "meta", "id"})


class PackageFinding(NamedTuple):
    """text: the file, the key and the problem. is_error: the definition is faulty; otherwise fhirstore does not support
    it, or only in part."""

    text: str
    is_error: bool


def check_contents(catalog: Catalog, package: Package) -> Iterator[PackageFinding]:
    """The problems of profiles, extensions, search parameters and value sets. catalog: contains the package."""
    validator, parameters = ProfileValidator(catalog), SearchParameterDefinitions(catalog)
    for resource in package.resources:
        where = catalog.file(resource) or package.label
        if resource["resourceType"] == "StructureDefinition":
            yield from _structure(catalog, validator, resource, where)
        elif resource["resourceType"] == "SearchParameter":
            yield from _parameter(catalog, parameters, resource, where)
        elif resource["resourceType"] == "ValueSet" and (cycle := _import_cycle(catalog, resource)):
            yield PackageFinding(f"{where}: compose: the value set imports itself: {' -> '.join(cycle)}", True)


def check_duplicates(package: Package, others: Sequence[Package]) -> Iterator[PackageFinding]:
    """Canonicals that a package of another name defines in the same version with different contents."""
    known = {_key(r): (p, r) for p in others if p.name != package.name for r in p.resources if "url" in r}
    for resource in package.resources:
        other = known.get(_key(resource)) if "url" in resource else None
        if other is not None and _content(resource) != _content(other[1]):
            kind, url, version = _key(resource)
            where, other_file = (p.where.get((kind, url), p.label) for p in (package, other[0]))
            yield PackageFinding(f"{where}: url: {other_file} defines {url} (version {version}) differently", True)


def _key(resource: Resource) -> tuple[str, str, Any]:
    return resource["resourceType"], str(resource.get("url")), resource.get("version")


def _content(resource: Resource) -> Resource:
    return {k: v for k, v in resource.items() if k not in _IGNORED}


# --- structures -------------------------------------------------------------------------------------


def _structure(
    catalog: Catalog, validator: ProfileValidator, resource: Resource, where: str
) -> Iterator[PackageFinding]:
    if not _elements(resource, "snapshot") and not _elements(resource, "differential"):
        yield PackageFinding(f"{where}: neither snapshot nor differential has an element", True)
        return
    if resource.get("kind") == "logical" or resource.get("derivation") != "constraint":
        return  # logical models and new types: no resource is validated against them
    canonical = str(resource["url"]) + (f"|{resource['version']}" if "version" in resource else "")
    try:
        validator.compile(canonical)
    except StartupError as e:
        text = str(e)
        yield PackageFinding(text if where in text else f"{where}: {text}", True)
    except RecursionError:
        yield PackageFinding(f"{where}: the definitions are nested too deeply", True)
    else:
        yield from _against_base(catalog, validator, resource, where)


def _against_base(
    catalog: Catalog, validator: ProfileValidator, resource: Resource, where: str
) -> Iterator[PackageFinding]:
    base = validator.snapshot(
        catalog.with_version(resource, "StructureDefinition", resource["baseDefinition"])
    ).elements
    differential = _elements(resource, "differential")
    try:
        yield from [
            PackageFinding(f"{where}: {text}", True) for text in contradictions(differential, base, catalog.core)
        ]
        yield from [PackageFinding(f"{where}: {text}", False) for text in relaxations(differential, base)]
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        yield PackageFinding(f"{where}: the differential is malformed: {e!r}", True)


def _elements(resource: Resource, view: str) -> list[Any]:
    found = resource.get(view)
    elements = found.get("element") if isinstance(found, dict) else None
    return elements if isinstance(elements, list) else []


# --- value sets -------------------------------------------------------------------------------------


def _import_cycle(catalog: Catalog, resource: Resource) -> list[str]:
    """The canonicals of an import cycle that contains the value set; empty if there is none."""
    imported_by: dict[int, Resource] = {}
    waiting = [resource]
    for one in waiting:  # the loop appends to it
        for canonical in _imports(one):
            found = catalog.resource("ValueSet", canonical)
            if found is None or id(found) in imported_by:
                continue
            imported_by[id(found)] = one
            if found is resource:
                path = [resource, one]
                while path[-1] is not resource:
                    path.append(imported_by[id(path[-1])])
                return [str(r["url"]) for r in reversed(path)]
            waiting.append(found)
    return []


def _imports(value_set: Resource) -> list[str]:
    compose = value_set.get("compose")
    parts = [*compose.get("include", ()), *compose.get("exclude", ())] if isinstance(compose, dict) else []
    return [c for part in parts if isinstance(part, dict) for c in part.get("valueSet", ()) if isinstance(c, str)]


# --- search parameters ------------------------------------------------------------------------------


def _parameter(
    catalog: Catalog, parameters: SearchParameterDefinitions, resource: Resource, where: str
) -> Iterator[PackageFinding]:
    try:
        definition = read_search_parameter(resource)
    except ValueError as e:
        yield PackageFinding(f"{where}: {e}", True)
        return
    if resource.get("status") == "retired":
        return
    for base in definition.bases:
        if base not in ABSTRACT_BASES and base not in catalog.core.resource_types:
            yield PackageFinding(f"{where}: base: {base!r} is not a resource type of R4", True)
            return
    refusal = unsupported_reason(definition)
    if refusal:
        yield PackageFinding(f"{where}: {definition.code}: it is not served: {refusal.partition('. ')[0]}", False)
        return
    try:
        for base in parameters.bases(definition):
            parameters.compile(base, definition, where)
    except StartupError as e:
        yield PackageFinding(str(e), True)
