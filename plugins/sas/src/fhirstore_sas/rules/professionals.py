"""Rules for practitioners, roles with their Locations, schedules, identifiers and phones (SPEC §3.4, §10, §16)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.names import FR_V2_0203, IDNPS_SYSTEM, IDNST_SYSTEM, TRE_R38
from fhirstore_sas.value_formats import BARE_OID, CORSICAN_FINESS, PHONE, POSTAL_CODE, PRACTITIONER_ID, STRUCTURE_ID


def identifiers(practitioner: JsonNode) -> Iterator[Fault]:
    """All identifiers are national and have their prefix."""
    found = practitioner.each("identifier")
    if not found:
        yield practitioner.get("identifier").fault(f"{IDNPS_SYSTEM}|8…")
    for one in found:
        if not is_national(one, IDNPS_SYSTEM, FR_V2_0203, "IDNPS") or not _has_format(one, PRACTITIONER_ID):
            yield one.fault(f"{FR_V2_0203}#IDNPS, {IDNPS_SYSTEM}, {PRACTITIONER_ID.pattern}")


def identifier_prefixes(practitioner: JsonNode) -> Iterator[Fault]:
    """National identifiers have their prefix."""
    for one in practitioner.each("identifier"):
        if one.get("system").text == IDNPS_SYSTEM and not _has_format(one, PRACTITIONER_ID):
            yield one.get("value").fault(PRACTITIONER_ID.pattern)


def is_national(identifier: JsonNode, system: str, type_system: str, code: str) -> bool:
    """Whether the identifier has this system, and this type as its only coding."""
    codings = list(identifier.get("type").codings())
    return identifier.get("system").text == system and codings == [(type_system, code)]


def _has_format(identifier: JsonNode, form: re.Pattern[str]) -> bool:
    return form.fullmatch(identifier.get("value").text) is not None


def names(practitioner: JsonNode) -> Iterator[Fault]:
    if not any(n.get("family").text.strip() and n.get("given").value for n in practitioner.each("name")):
        yield practitioner.get("name").fault("family, given")


def actors(schedule: JsonNode) -> Iterator[Fault]:
    """A schedule has one Practitioner and one PractitionerRole."""
    practitioners, roles = actor_references(schedule)
    if len(practitioners) != 1 or len(roles) != 1:
        yield schedule.get("actor").fault("Practitioner/… + PractitionerRole/…")


def actor_references(schedule: JsonNode) -> tuple[list[str], list[str]]:
    """(references to practitioners, references to roles) of a schedule."""
    found = [actor.reference for actor in schedule.each("actor")]
    return (
        [ref for ref in found if ref.startswith("Practitioner/")],
        [ref for ref in found if ref.startswith("PractitionerRole/")],
    )


def structure(role: JsonNode) -> Iterator[Fault]:
    """The structure has an identifier with type, system and prefix."""
    one = role.get("organization").get("identifier")
    if not is_national(one, IDNST_SYSTEM, FR_V2_0203, "IDNST") or not _has_format(one, STRUCTURE_ID):
        yield one.fault(f"{FR_V2_0203}#IDNST, {IDNST_SYSTEM}, {STRUCTURE_ID.pattern}")


def structure_prefix(role: JsonNode) -> Iterator[Fault]:
    """The structure id, if present, has its prefix. Responses add type and system (SPEC §20, no. 23)."""
    value = role.get("organization").get("identifier").get("value")
    if value.value is not None and not (STRUCTURE_ID.fullmatch(value.text) or CORSICAN_FINESS.fullmatch(value.text)):
        yield value.fault(STRUCTURE_ID.pattern)


def location(role: JsonNode) -> Iterator[Fault]:
    """The role refers to exactly one Location, which is contained."""
    contained = role.each("contained")
    ids = ["#" + c.get("id").text for c in contained if c.get("resourceType").text == "Location"]
    given = [location.reference for location in role.each("location")]
    if len(contained) != 1 or given != ids:
        yield role.get("location").fault(" ".join(ids) or "contained Location")


def contained_locations(role: JsonNode) -> list[JsonNode]:
    return [c for c in role.each("contained") if c.get("resourceType").text == "Location"]


def address(place: JsonNode) -> Iterator[Fault]:
    given = place.get("address")
    lines = given.get("line").value
    if not (isinstance(lines, list) and len(lines) == 1 and lines[0]):
        yield given.get("line").fault("1")
    if not given.get("city").text.strip():
        yield given.get("city").fault()
    if not POSTAL_CODE.fullmatch(given.get("postalCode").text):
        yield given.get("postalCode").fault(POSTAL_CODE.pattern)


def addresses(role: JsonNode) -> Iterator[Fault]:
    for place in contained_locations(role):
        yield from address(place)


def location_identifiers(place: JsonNode) -> Iterator[Fault]:
    found = place.each("identifier")
    if not found:
        yield place.get("identifier").fault("type, system, value")
    for one in found:
        if not (list(one.get("type").codings()) and one.get("system").text and one.get("value").text):
            yield one.fault("type, system, value")


def specialties(resource: JsonNode) -> Iterator[Fault]:
    """Specialties after the first have a code: the test kit tolerates a text only in the first (SPEC §20, no. 12)."""
    for specialty in resource.each("specialty")[1:]:
        if specialty.get("text").text and not any(code for _, code in specialty.codings()):
            yield specialty.fault(TRE_R38)


def phones(resource: JsonNode) -> Iterator[Fault]:
    for telecom in resource.each("telecom"):
        value = telecom.get("value")
        if not telecom.get("system").text:
            yield telecom.fault("system")
        elif telecom.get("system").text == "phone" and not PHONE.fullmatch(value.text):
            yield value.fault(PHONE.pattern)
    for place in contained_locations(resource):
        yield from phones(place)


def oids(resource: JsonNode) -> Iterator[Fault]:
    for one in [*resource.each("identifier"), resource.get("organization").get("identifier")]:
        system = one.get("system")
        if BARE_OID.fullmatch(system.text):
            yield system.fault("urn:oid:…")
    for place in contained_locations(resource):
        yield from oids(place)
