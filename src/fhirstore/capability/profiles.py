"""https://hl7.org/fhir/R4/profiling.html#CapabilityStatement: the profiles of a served type."""

from __future__ import annotations

from fhirstore.capability.declared import DeclaredType
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError


def declared_profiles(catalog: Catalog, declared: DeclaredType) -> list[str]:
    """The canonicals of the declared profiles of a type. Raises StartupError if one is undefined or of another type."""
    for profile in declared.profiles:
        if not catalog.has_structure(profile.text):
            raise StartupError(
                f"{profile.where}: neither R4 nor a loaded package defines the profile {profile.text}. Load its "
                "package with --plugin NAME, or install it with fhirstore package add."
            )
        structure = catalog.resource("StructureDefinition", profile.text)
        if structure is not None and structure.get("type") != declared.name:
            raise StartupError(
                f"{profile.where}: {profile.text} is a profile of {structure.get('type')}, not of {declared.name}."
            )
    return list(dict.fromkeys(profile.text for profile in declared.profiles))


def packaged_profiles(catalog: Catalog) -> dict[str, list[str]]:
    """Resource type -> canonicals of the profiles that packages add."""
    found: dict[str, list[str]] = {}
    for structure in added_resources(catalog, "StructureDefinition"):
        if structure.get("derivation") == "constraint" and structure.get("kind") == "resource":
            found.setdefault(str(structure.get("type")), []).append(str(structure["url"]))
    return found
