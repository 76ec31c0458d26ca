"""Additional rules of `$sas-check` for stored resources: constraints of the response profiles that responses cannot
repair (SPEC §3.4, §4, §11). Most stored resources claim no profile, so writes do not check them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.names import FR_LOCATION_IDENTIFIER_TYPE, IDNST_SYSTEM
from fhirstore_sas.rules import professionals
from fhirstore_sas.rules.profile_rules import CPTS_ORGANIZATION, ROLE, SOS_LOCATION, SOS_ORGANIZATION, ProfileRule
from fhirstore_sas.value_formats import CORSICAN_FINESS, FINESS, SIRET


def place_identifiers(place: JsonNode) -> Iterator[Fault]:
    """One identifier must be complete; responses leave the others out."""
    found = professionals.location_identifiers(place)
    faults = list(found)
    if len(faults) >= max(1, len(place.each("identifier"))):
        yield faults[0]


def contained_identifiers(role: JsonNode) -> Iterator[Fault]:
    for place in professionals.contained_locations(role):
        yield from place_identifiers(place)


def sos_place(place: JsonNode) -> Iterator[Fault]:
    """The Location must have a name and an identifier of the editor; responses then leave other identifiers out."""
    if not place.get("name").text.strip():
        yield place.get("name").fault()
    if not any(code == "INTRN" for one in place.each("identifier") for _, code in one.get("type").codings()):
        yield place.get("identifier").fault(f"{FR_LOCATION_IDENTIFIER_TYPE}#INTRN")


def finess(organization: JsonNode) -> Iterator[Fault]:
    """A FINESS is required. Responses add its prefix and type, and leave other identifiers out."""
    if not any(FINESS.fullmatch(id) or CORSICAN_FINESS.fullmatch(id) for id in _structure_ids(organization)):
        yield organization.get("identifier").fault(f"{IDNST_SYSTEM}, {FINESS.pattern}")


def siret(organization: JsonNode) -> Iterator[Fault]:
    if not any(SIRET.fullmatch(id) for id in _structure_ids(organization)):
        yield organization.get("identifier").fault(f"{IDNST_SYSTEM}, {SIRET.pattern}")


def _structure_ids(organization: JsonNode) -> Iterator[str]:
    for one in organization.each("identifier"):
        if one.get("system").text == IDNST_SYSTEM:
            yield with_prefix(IDNST_SYSTEM, one.get("value").text) or ""


STORED_RESOURCE_RULES: Mapping[str, tuple[ProfileRule, ...]] = {
    ROLE: (
        ProfileRule("role-location", professionals.location),
        ProfileRule("location-identifier", contained_identifiers),
    ),
    SOS_LOCATION: (ProfileRule("sos-location", sos_place), ProfileRule("location-identifier", place_identifiers)),
    CPTS_ORGANIZATION: (ProfileRule("cpts-identifier", finess),),
    SOS_ORGANIZATION: (ProfileRule("sos-identifier", siret),),
}
"""Canonical of the profile -> additional rules; see `profile_rules.PROFILE_RULES`."""
