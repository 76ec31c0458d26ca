"""https://hl7.org/fhir/R4/profiling.html#CapabilityStatement: the profiles of a served type."""

from __future__ import annotations

from fhirstore.capability.declared import DeclaredType
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError


def declared_profiles(catalog: Catalog, declared: DeclaredType) -> list[str]:
    """The canonicals that statements name on the type, each once. Raises StartupError for one that nothing defines
    or that is of another type."""
    for said in declared.profiles:
        if not catalog.has_structure(said.text):
            raise StartupError(
                f"{said.where}: the profile {said.text} is not defined by R4 nor by any loaded package. "
                "What defines it is loaded with --plugin NAME, or installed with fhirstore package add."
            )
        structure = catalog.resource("StructureDefinition", said.text)
        if structure is not None and structure.get("type") != declared.name:
            raise StartupError(
                f"{said.where}: {said.text} is a profile of {structure.get('type')}, not {declared.name}."
            )
    return list(dict.fromkeys(said.text for said in declared.profiles))


def packaged_profiles(catalog: Catalog) -> dict[str, list[str]]:
    """The canonicals of all profiles on resources that packages add, by resource type."""
    found: dict[str, list[str]] = {}
    for structure in added_resources(catalog, "StructureDefinition"):
        if structure.get("derivation") == "constraint" and structure.get("kind") == "resource":
            found.setdefault(str(structure.get("type")), []).append(str(structure["url"]))
    return found
