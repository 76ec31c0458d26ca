"""Rules for single resources beyond the profiles, which writes, `$sas-check` and `sas check` share.

A rule is a function that takes a resource as `JsonNode`, JSON of unknown structure, and yields faults. `profile_rules`
lists the rules of each profile.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhirstore_sas.names import (
    FR_V2_0203,
    IDNPS_SYSTEM,
    IDNST_SYSTEM,
    SERVICE_TYPE_R5,
    TRE_R38,
    TRE_R66,
    TRE_R314,
    V2_0276,
    V3_ACT_CODE,
)
from fhirstore_sas.value_formats import (
    BARE_OID,
    CORSICAN_FINESS,
    INSTANT,
    INSTANT_FORMAT,
    PHONE,
    POSTAL_CODE,
    PRACTITIONER_ID,
    STRUCTURE_ID,
    instant,
    is_web_address,
)

LONGEST = 200
"""Characters of a value in a report."""
_REFERENCE = re.compile(r"(?:https?://\S*/)?([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[^/\s]*)?")

CONSULTATIONS = ("AMB", "HH", "VR")
APPOINTMENTS = ("ROUTINE", "WALKIN")
CPTS_CODE = "604"
_CONSULTATIONS = frozenset((V3_ACT_CODE, code) for code in CONSULTATIONS)
_APPOINTMENTS = frozenset((V2_0276, code) for code in APPOINTMENTS)
_LABELS_OF_PS = "PUBLIC", "PRO", "SNP"
_LABELS_OF_CPTS = (*_LABELS_OF_PS, "CPTS")
_LABELS_OF_SOS = "PUBLIC", "SNP"


@dataclass(frozen=True)
class Fault:
    """A violation of a rule. where: FHIRPath in the response, or the name of a header. found, wanted: values or codes,
    independent of language; wanted is empty if the text of the rule says it."""

    where: str
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}" if self.found else self.where
        return f"{text} ≠ {self.wanted}" if self.wanted else text


@dataclass(slots=True, eq=False)
class JsonNode:
    """A JSON value of unknown type with its path. The value of an absent member is None.

    The class is not frozen, because that doubles the time to create an instance, and each write creates dozens."""

    path: str
    value: Any

    def get(self, name: str) -> JsonNode:
        inner = self.value.get(name) if isinstance(self.value, dict) else None
        return JsonNode(f"{self.path}.{name}", inner)

    def each(self, name: str) -> list[JsonNode]:
        """The items of an array member; empty if there is no such array."""
        items = self.value.get(name) if isinstance(self.value, dict) else None
        if not isinstance(items, list):
            return []
        return [JsonNode(f"{self.path}.{name}[{n}]", item) for n, item in enumerate(items)]

    @property
    def text(self) -> str:
        """The string; "" for other types."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def reference(self) -> str:
        return self.get("reference").text

    def codings(self) -> Iterator[tuple[str, str]]:
        """(system, code) of each coding of a CodeableConcept; "" for absent members and other types."""
        items = self.value.get("coding") if isinstance(self.value, dict) else None
        for coding in items if isinstance(items, list) else ():
            if isinstance(coding, dict):
                system, code = coding.get("system"), coding.get("code")
                yield system if isinstance(system, str) else "", code if isinstance(code, str) else ""
            else:
                yield "", ""

    def fault(self, wanted: str = "") -> Fault:
        return Fault(self.path, excerpt(self.value), wanted)


def excerpt(value: Any) -> str:
    """A value as JSON for a report, shortened."""
    text = "∅" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def local(reference: str) -> str:
    """A literal reference as Type/id, without base URL and version; other references unchanged."""
    found = _REFERENCE.fullmatch(reference)
    return found.group(1) if found else reference


# --- slots: times, labels, kinds of consultation, booking page (SPEC §3, §11, §16) ---------------------


def slot_instants(slot: JsonNode) -> Iterator[Fault]:
    for name in ("start", "end"):
        if not INSTANT.fullmatch(slot.get(name).text):
            yield slot.get(name).fault(INSTANT_FORMAT)


def slot_order(slot: JsonNode) -> Iterator[Fault]:
    start, end = (instant(slot.get(name).text) for name in ("start", "end"))
    if start and end and start >= end:
        yield slot.get("end").fault("> " + slot.get("start").text)


def ps_labels(slot: JsonNode) -> Iterator[Fault]:
    return _labels(slot, _LABELS_OF_PS)


def cpts_labels(slot: JsonNode) -> Iterator[Fault]:
    return _labels(slot, _LABELS_OF_CPTS)


def sos_labels(slot: JsonNode) -> Iterator[Fault]:
    return _labels(slot, _LABELS_OF_SOS)


def _labels(slot: JsonNode, known: tuple[str, ...]) -> Iterator[Fault]:
    security = slot.get("meta").each("security")
    if not security:
        yield slot.get("meta").get("security").fault(" | ".join(known))
    for coding in security:
        if coding.get("system").text != TRE_R314 or coding.get("code").text not in known:
            yield coding.fault(f"{TRE_R314} {' | '.join(known)}")


def consultations(slot: JsonNode) -> Iterator[Fault]:
    """The slot has at least one kind of consultation and no other codes; reasons have only text."""
    codes = [c for service in slot.each("serviceType") if not is_cpts_service(service) for c in service.codings()]
    if not codes or not _CONSULTATIONS.issuperset(codes):
        yield slot.get("serviceType").fault(f"{V3_ACT_CODE} {' | '.join(CONSULTATIONS)}")


def known_appointment_type(slot: JsonNode) -> Iterator[Fault]:
    """The appointment type is one of the two supported kinds."""
    kind = slot.get("appointmentType")
    if _APPOINTMENTS.isdisjoint(kind.codings()):
        yield kind.fault(f"{V2_0276} {' | '.join(APPOINTMENTS)}")


def has_appointment_type(slot: JsonNode) -> Iterator[Fault]:
    kind = slot.get("appointmentType")
    if not list(kind.codings()):
        yield kind.fault(f"{V2_0276} {' | '.join(APPOINTMENTS)}")


def only_known_appointment_types(slot: JsonNode) -> Iterator[Fault]:
    """The appointment type has no codes but the two supported kinds."""
    kind = slot.get("appointmentType")
    if not _APPOINTMENTS.issuperset(kind.codings()):
        yield kind.fault(f"{V2_0276} {' | '.join(APPOINTMENTS)}")


def has_booking_page(slot: JsonNode) -> Iterator[Fault]:
    """The slot has a booking page. The test kit requires it of all slots of individual practitioners."""
    comment = slot.get("comment")
    if not is_web_address(comment.text.strip()):
        yield comment.fault("http(s)://…")


def booking_page(slot: JsonNode) -> Iterator[Fault]:
    """Walk-in slots need no booking page, as in two official examples. A booking page is a URL."""
    is_walk_in = any(code == "WALKIN" for _, code in slot.get("appointmentType").codings())
    if slot.get("comment").value is not None or not is_walk_in:
        yield from has_booking_page(slot)


def booking_page_query(slot: JsonNode) -> Iterator[Fault]:
    """The URL has a query string, because the platform appends `&origin=…`."""
    comment = slot.get("comment")
    if comment.text.startswith(("http://", "https://")) and "?" not in comment.text:
        yield comment.fault("…?…")


def cpts_services(slot: JsonNode) -> Iterator[Fault]:
    """Slots with the label CPTS, and only these, have service types 604, each with its HealthcareService."""
    services = slot.each("serviceType")
    has_cpts = any(is_cpts_service(service) for service in services)
    labelled = any(coding.get("code").text == "CPTS" for coding in slot.get("meta").each("security"))
    if labelled and not has_cpts:
        yield slot.get("serviceType").fault(f"{TRE_R66}#{CPTS_CODE}")
    elif has_cpts and not labelled:
        yield slot.get("meta").get("security").fault(f"{TRE_R314}#CPTS")
    for service in services:
        links = [e for e in service.each("extension") if e.get("url").text == SERVICE_TYPE_R5]
        if len(links) != is_cpts_service(service):
            yield service.fault(SERVICE_TYPE_R5)


def is_cpts_service(service: JsonNode) -> bool:
    """Whether a service type is that of a CPTS."""
    return any(code == CPTS_CODE and "TRE_R66" in system for system, code in service.codings())


# --- practitioners, their roles with Locations, and their schedules (SPEC §3.4, §10, §16) ---------------


def practitioner_id_prefixes(practitioner: JsonNode) -> Iterator[Fault]:
    """National identifiers have their prefix."""
    for one in practitioner.each("identifier"):
        if one.get("system").text == IDNPS_SYSTEM and not PRACTITIONER_ID.fullmatch(one.get("value").text):
            yield one.get("value").fault(PRACTITIONER_ID.pattern)


def has_only_coding(identifier: JsonNode, system: str, type_system: str, code: str) -> bool:
    """Whether the identifier has this system, and this type as its only coding."""
    codings = list(identifier.get("type").codings())
    return identifier.get("system").text == system and codings == [(type_system, code)]


def practitioner_names(practitioner: JsonNode) -> Iterator[Fault]:
    if not any(n.get("family").text.strip() and n.get("given").value for n in practitioner.each("name")):
        yield practitioner.get("name").fault("family, given")


def schedule_actors(schedule: JsonNode) -> Iterator[Fault]:
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


def sos_schedule_actor(schedule: JsonNode) -> Iterator[Fault]:
    actors = [actor.reference for actor in schedule.each("actor")]
    if len(actors) != 1 or not actors[0].startswith("Location/"):
        yield schedule.get("actor").fault("Location/…")


def role_structure(role: JsonNode) -> Iterator[Fault]:
    """The structure has an identifier with type, system and prefix."""
    one = role.get("organization").get("identifier")
    is_typed = has_only_coding(one, IDNST_SYSTEM, FR_V2_0203, "IDNST")
    if not is_typed or not STRUCTURE_ID.fullmatch(one.get("value").text):
        yield one.fault(f"{FR_V2_0203}#IDNST, {IDNST_SYSTEM}, {STRUCTURE_ID.pattern}")


def role_structure_prefix(role: JsonNode) -> Iterator[Fault]:
    """The structure id, if present, has its prefix. Responses add type and system (SPEC §20, no. 23)."""
    value = role.get("organization").get("identifier").get("value")
    if value.value is not None and not (STRUCTURE_ID.fullmatch(value.text) or CORSICAN_FINESS.fullmatch(value.text)):
        yield value.fault(STRUCTURE_ID.pattern)


def role_location(role: JsonNode) -> Iterator[Fault]:
    """The role refers to exactly one Location, which is contained."""
    contained = role.each("contained")
    ids = ["#" + c.get("id").text for c in contained if c.get("resourceType").text == "Location"]
    given = [location.reference for location in role.each("location")]
    if len(contained) != 1 or given != ids:
        yield role.get("location").fault(" ".join(ids) or "contained Location")


def contained_locations(role: JsonNode) -> list[JsonNode]:
    return [c for c in role.each("contained") if c.get("resourceType").text == "Location"]


def location_address(place: JsonNode) -> Iterator[Fault]:
    given = place.get("address")
    lines = given.get("line").value
    if not (isinstance(lines, list) and len(lines) == 1 and lines[0]):
        yield given.get("line").fault("1")
    if not given.get("city").text.strip():
        yield given.get("city").fault()
    if not POSTAL_CODE.fullmatch(given.get("postalCode").text):
        yield given.get("postalCode").fault(POSTAL_CODE.pattern)


def contained_addresses(role: JsonNode) -> Iterator[Fault]:
    for place in contained_locations(role):
        yield from location_address(place)


def location_identifiers(place: JsonNode) -> Iterator[Fault]:
    found = place.each("identifier")
    if not found:
        yield place.get("identifier").fault("type, system, value")
    for one in found:
        if not (list(one.get("type").codings()) and one.get("system").text and one.get("value").text):
            yield one.fault("type, system, value")


# --- elements of several types, and Bundles (SPEC §3.1, §10) ----------------------------------------------


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


def cpts_contact(organization: JsonNode) -> Iterator[Fault]:
    if not organization.get("name").text.strip():
        yield organization.get("name").fault()
    if not any(t.get("value").text for t in organization.each("telecom")):
        yield organization.get("telecom").fault()


def bundle_type(bundle: JsonNode) -> Iterator[Fault]:
    type = bundle.get("type")
    if type.text != "searchset":
        yield type.fault("searchset")


def bundle_total(bundle: JsonNode) -> Iterator[Fault]:
    """The total is the number of slots."""
    count = bundle.get("total")
    slots = sum(entry.get("resource").get("resourceType").text == "Slot" for entry in bundle.each("entry"))
    if count.value != slots or isinstance(count.value, bool):
        yield count.fault(str(slots))


def bundle_link(bundle: JsonNode) -> Iterator[Fault]:
    """The only link is the self link."""
    links = bundle.each("link")
    if [link.get("relation").text for link in links] != ["self"]:
        yield bundle.get("link").fault("self")
