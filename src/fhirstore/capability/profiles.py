"""https://hl7.org/fhir/R4/profiling.html#CapabilityStatement: the profiles of a served type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fhirstore.capability.declared import DeclaredText, DeclaredType
from fhirstore.capability.omissions import Omissions
from fhirstore.capability.registry import Registry
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError

Json = dict[str, object]


def declared_profiles(catalog: Catalog, declared: DeclaredType, omissions: Omissions) -> list[str]:
    """The canonicals of the declared profiles of a type.

    Raises StartupError if one is undefined or of another type. Optional ones are omitted instead."""
    found: dict[str, None] = {}
    for profile in declared.profiles:
        with omissions.tolerate(profile.optional):
            _check_defined(catalog, declared.name, profile)
            found[profile.text] = None
    return list(found)


def _check_defined(catalog: Catalog, type: str, profile: DeclaredText) -> None:
    if not catalog.has_structure(profile.text):
        raise StartupError(
            f"{profile.where}: neither R4 nor a loaded package defines the profile {profile.text}. Load its "
            "package with --plugin NAME, or install it with fhirstore package add."
        )
    structure = catalog.resource("StructureDefinition", profile.text)
    if structure is not None and structure.get("type") != type:
        raise StartupError(f"{profile.where}: {profile.text} is a profile of {structure.get('type')}, not of {type}.")


def with_checkable_profiles(registry: Registry, can_check: Callable[[str], bool], omissions: Omissions) -> Registry:
    """The registry without the supported profiles that cannot be checked, which become omissions.

    https://hl7.org/fhir/R4/capabilitystatement-definitions.html#CapabilityStatement.rest.resource.supportedProfile"""
    refused: dict[str, frozenset[str]] = {}
    for name, served in registry.types.items():
        unusable = frozenset(p for p in served.supported_profiles if not can_check(p))
        for profile in sorted(unusable):
            omissions.add(f"{name}: supportedProfile: {profile}: the profile cannot be checked.")
        if unusable:
            refused[name] = unusable
    if not refused:
        return registry
    types = {
        name: replace(served, supported_profiles=_without(served.supported_profiles, refused.get(name, frozenset())))
        for name, served in registry.types.items()
    }
    rest = registry.statement["rest"][0]
    resources = [_resource_entry(r, refused.get(r["type"], frozenset())) for r in rest["resource"]]
    statement = registry.statement | {"rest": [rest | {"resource": resources}]}
    return replace(registry, types=types, statement=statement)


def _resource_entry(resource: Json, refused: frozenset[str]) -> Json:
    """An entry of rest.resource without these profiles. FHIR JSON has no empty arrays."""
    profiles = resource.get("supportedProfile")
    if not refused or not isinstance(profiles, list):
        return resource
    rest = {key: value for key, value in resource.items() if key != "supportedProfile"}
    kept = list(_without(profiles, refused))
    return {k: kept if k == "supportedProfile" else v for k, v in resource.items()} if kept else rest


def _without(profiles: Sequence[str], refused: frozenset[str]) -> tuple[str, ...]:
    return tuple(p for p in profiles if p not in refused)


def packaged_profiles(catalog: Catalog) -> dict[str, list[str]]:
    """Resource type -> canonicals of the profiles that packages add."""
    found: dict[str, list[str]] = {}
    for structure in added_resources(catalog, "StructureDefinition"):
        if structure.get("derivation") == "constraint" and structure.get("kind") == "resource":
            found.setdefault(str(structure.get("type")), []).append(str(structure["url"]))
    return found
