"""What `$sas-check` looks for beside the duties: what the profiles of answers state, as far as answers do not mend it
themselves (SPEC §3.4, §4, §11). Most resources claim no profile, so that no write looked for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fhirstore_sas.forms import CORSICAN_FINESS, FINESS, SIRET
from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.names import FR_LOCATION_IDENTIFIER_TYPE, IDNST_SYSTEM
from fhirstore_sas.parts import Fault, Part
from fhirstore_sas.rules import people
from fhirstore_sas.rules.duties import CPTS_ORGANIZATION, ROLE, SOS_LOCATION, SOS_ORGANIZATION, Duty


def place_identifiers(place: Part) -> Iterator[Fault]:
    """One is complete; answers leave the others out."""
    found = people.place_identifiers(place)
    faults = list(found)
    if len(faults) >= max(1, len(place.each("identifier"))):
        yield faults[0]


def contained_identifiers(role: Part) -> Iterator[Fault]:
    for place in people.contained_places(role):
        yield from place_identifiers(place)


def sos_place(place: Part) -> Iterator[Fault]:
    """It has a name, and an identifier of the editor's own; answers leave out those of other kinds then."""
    if not place.get("name").text.strip():
        yield place.get("name").fault()
    if not any(code == "INTRN" for one in place.each("identifier") for _, code in one.get("type").codings()):
        yield place.get("identifier").fault(f"{FR_LOCATION_IDENTIFIER_TYPE}#INTRN")


def finess(organization: Part) -> Iterator[Fault]:
    """There is one; answers give it its prefix and type, and leave the others out."""
    if not any(FINESS.fullmatch(id) or CORSICAN_FINESS.fullmatch(id) for id in _structure_ids(organization)):
        yield organization.get("identifier").fault(f"{IDNST_SYSTEM}, {FINESS.pattern}")


def siret(organization: Part) -> Iterator[Fault]:
    if not any(SIRET.fullmatch(id) for id in _structure_ids(organization)):
        yield organization.get("identifier").fault(f"{IDNST_SYSTEM}, {SIRET.pattern}")


def _structure_ids(organization: Part) -> Iterator[str]:
    for one in organization.each("identifier"):
        if one.get("system").text == IDNST_SYSTEM:
            yield with_prefix(IDNST_SYSTEM, one.get("value").text) or ""


FURTHER: Mapping[str, tuple[Duty, ...]] = {
    ROLE: (Duty("role-location", people.location), Duty("location-identifier", contained_identifiers)),
    SOS_LOCATION: (Duty("sos-location", sos_place), Duty("location-identifier", place_identifiers)),
    CPTS_ORGANIZATION: (Duty("cpts-identifier", finess),),
    SOS_ORGANIZATION: (Duty("sos-identifier", siret),),
}
"""By canonical of the profile, as `duties.DUTIES`."""
