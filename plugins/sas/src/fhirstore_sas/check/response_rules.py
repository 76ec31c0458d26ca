"""Rules on the resources of a response: slots, practitioners, CPTS and SOS Médecins (SPEC §3, §4, §10, §16)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from fhirstore_sas import rules
from fhirstore_sas.check.bundle_rules import BUNDLE_CHECKS
from fhirstore_sas.check.model import CheckRule
from fhirstore_sas.check.response import CheckedResponse, ResponseCheck, name_of, of_each
from fhirstore_sas.names import (
    FR_CORE_V2_0203,
    FR_LOCATION_IDENTIFIER_TYPE,
    FR_V2_0203,
    IDNPS_SYSTEM,
    IDNST_SYSTEM,
    PLATFORM,
)
from fhirstore_sas.rules import Fault, JsonNode
from fhirstore_sas.searches import CPTS, PS, SOS
from fhirstore_sas.value_formats import FINESS, PRACTITIONER_ID, SIRET, instant

_AGENDA = (PS, CPTS)
_LABELS = {PS.name: rules.ps_labels, CPTS.name: rules.cpts_labels, SOS.name: rules.sos_labels}


# --- slots ---------------------------------------------------------------------------------------------


def in_window(response: CheckedResponse) -> Iterator[Fault]:
    search = response.search
    for slot in response.all("Slot"):
        start = instant(slot.get("start").text)
        if start and not search.start <= start <= search.end:
            limits = (bound.isoformat(timespec="milliseconds") for bound in (search.start, search.end))
            yield slot.get("start").fault(" … ".join(limits))


def labels(response: CheckedResponse) -> Iterator[Fault]:
    for slot in response.all("Slot"):
        yield from _LABELS[response.mode.name](slot)


def pages(response: CheckedResponse) -> Iterator[Fault]:
    for slot in response.all("Slot"):
        yield from rules.has_booking_page(slot) if response.mode is PS else rules.booking_page(slot)


def slot_status(slot: JsonNode) -> Iterator[Fault]:
    if slot.get("status").text != "free":
        yield slot.get("status").fault("free")


def cpts_hidden(slot: JsonNode) -> Iterator[Fault]:
    yield from (service.fault() for service in slot.each("serviceType") if rules.is_cpts_service(service))


# --- practitioners, their schedules, and their roles with the places in them ---------------------------


def practitioner_identifiers(practitioner: JsonNode) -> Iterator[Fault]:
    """All identifiers are national and have their prefix."""
    found = practitioner.each("identifier")
    if not found:
        yield practitioner.get("identifier").fault(f"{IDNPS_SYSTEM}|8…")
    for one in found:
        if not rules.has_only_coding(one, IDNPS_SYSTEM, FR_V2_0203, "IDNPS") or not PRACTITIONER_ID.fullmatch(
            one.get("value").text
        ):
            yield one.fault(f"{FR_V2_0203}#IDNPS, {IDNPS_SYSTEM}, {PRACTITIONER_ID.pattern}")


def asked(response: CheckedResponse) -> Iterator[Fault]:
    for practitioner in response.all("Practitioner"):
        first = next(iter(practitioner.each("identifier")), practitioner.get("identifier")).get("value")
        if first.text not in response.search.ids:
            yield first.fault(" | ".join(response.search.ids))


def people_once(response: CheckedResponse) -> Iterator[Fault]:
    """Each requested person is one Practitioner, whatever the number of places."""
    named = Counter(i.get("value").text for p in response.all("Practitioner") for i in p.each("identifier")[:1])
    yield from (
        Fault("Bundle.entry.resource.ofType(Practitioner)", f"{id}: {n}", "1") for id, n in named.items() if n > 1
    )
    if response.all("Slot") and not response.all("Practitioner"):
        yield Fault("Bundle.entry.resource.ofType(Practitioner)", "0", "≥ 1")


def accounts(response: CheckedResponse) -> Iterator[Fault]:
    for practitioner in response.all("Practitioner"):
        source = practitioner.get("meta").get("source")
        if source.text == PLATFORM:
            yield source.fault()


def schedules(response: CheckedResponse) -> Iterator[Fault]:
    """A schedule has one Practitioner and one of their roles; each role has exactly one schedule."""
    roles: Counter[str] = Counter()
    for schedule in response.all("Schedule"):
        practitioners, own = rules.actor_references(schedule)
        roles.update(own)
        owners = {_owner(response, ref) for ref in own} - {None}
        if len(practitioners) != 1 or len(own) != 1 or owners - set(practitioners):
            yield schedule.get("actor").fault("Practitioner/… + PractitionerRole/…")
    for role in response.all("PractitionerRole"):
        if roles[name_of(role)] != 1:
            yield Fault(role.path, f"{name_of(role)}: {roles[name_of(role)]} Schedule", "1")


def _owner(response: CheckedResponse, role: str) -> str | None:
    found = response.by_reference.get(role)
    return found.get("practitioner").reference if found is not None else None


def of_all(validate: Callable[[JsonNode], Iterable[Fault]]) -> Callable[[CheckedResponse], Iterator[Fault]]:
    """A check that looks for faults in every resource of the response."""
    return lambda response: (fault for one in response.by_reference.values() for fault in validate(one))


def of_places(validate: Callable[[JsonNode], Iterable[Fault]]) -> Callable[[CheckedResponse], Iterator[Fault]]:
    """A check that looks for faults in the places, contained ones included."""
    return lambda response: (fault for place in _all_places(response) for fault in validate(place))


def _all_places(response: CheckedResponse) -> Iterator[JsonNode]:
    for role in response.all("PractitionerRole"):
        yield from rules.contained_locations(role)
    yield from response.all("Location")


# --- CPTS with their services, associations of SOS Médecins with their places --------------------------


def cpts_identifier(organization: JsonNode) -> Iterator[Fault]:
    return _structure(organization, FINESS, (FR_CORE_V2_0203, FR_LOCATION_IDENTIFIER_TYPE))


def sos_identifier(organization: JsonNode) -> Iterator[Fault]:
    return _structure(organization, SIRET, (FR_LOCATION_IDENTIFIER_TYPE,))


def _structure(organization: JsonNode, form: re.Pattern[str], types: tuple[str, ...]) -> Iterator[Fault]:
    found = organization.each("identifier")
    one = found[0] if len(found) == 1 else organization.get("identifier")
    is_typed = any(system in types and code == "IDNST" for system, code in one.get("type").codings())
    if one.get("system").text != IDNST_SYSTEM or not is_typed or not form.fullmatch(one.get("value").text):
        yield one.fault(f"1 × {types[0]}#IDNST, {IDNST_SYSTEM}, {form.pattern}")


def sos_place(place: JsonNode) -> Iterator[Fault]:
    if not place.get("name").text.strip():
        yield place.get("name").fault()
    for one in place.each("identifier"):
        if list(one.get("type").codings()) != [(FR_LOCATION_IDENTIFIER_TYPE, "INTRN")]:
            yield one.get("type").fault(f"{FR_LOCATION_IDENTIFIER_TYPE}#INTRN")


def services(response: CheckedResponse) -> Iterator[Fault]:
    """One HealthcareService for each Organization."""
    owners = Counter(s.get("providedBy").reference for s in response.all("HealthcareService"))
    for organization in response.all("Organization"):
        count = owners[name_of(organization)]
        if count != 1:
            yield Fault(organization.path, f"{name_of(organization)}: {count} HealthcareService", "1")


def sos_asked(response: CheckedResponse) -> Iterator[Fault]:
    for organization in response.all("Organization"):
        for one in organization.each("identifier")[:1]:
            if one.get("value").text not in response.search.ids:
                yield one.get("value").fault(" | ".join(response.search.ids))


def sos_schedules(response: CheckedResponse) -> Iterator[Fault]:
    """One Schedule for each place."""
    places: Counter[str] = Counter()
    for schedule in response.all("Schedule"):
        yield from rules.sos_schedule_actor(schedule)
        places.update(actor.reference for actor in schedule.each("actor"))
    for place, count in places.items():
        if count > 1:
            yield Fault("Bundle.entry.resource.ofType(Schedule)", f"{place}: {count}", "1")


_SLOT_CHECKS = (
    ResponseCheck(CheckRule("slot-instant", "§3.2", kit=("4.3.04",)), of_each("Slot", rules.slot_instants)),
    ResponseCheck(CheckRule("slot-order", "§18", kit=("4.3.04",)), of_each("Slot", rules.slot_order)),
    ResponseCheck(CheckRule("slot-window", "§3; §16 no. 17", kit=("4.3.04",)), in_window),
    ResponseCheck(CheckRule("slot-status", "§16 no. 17", kit=("4.3.09",)), of_each("Slot", slot_status)),
    ResponseCheck(CheckRule("slot-label", "§3.3; §13; §20 no. 31, 35, 40", kit=("4.7.02",)), labels),
    ResponseCheck(
        CheckRule("slot-consultation", "§11.2; §16 no. 8", kit=("4.7.03",)), of_each("Slot", rules.consultations)
    ),
    ResponseCheck(
        CheckRule("slot-appointment", "§11.2; §19 no. 49", kit=("4.3.10",)),
        of_each("Slot", rules.known_appointment_type),
    ),
    ResponseCheck(CheckRule("slot-comment", "§5.6; §16 no. 14", kit=("4.3.08", "6.1.01")), pages),
    ResponseCheck(CheckRule("slot-comment-query", "§5.6", kit=("6.1.03",)), of_each("Slot", rules.booking_page_query)),
    ResponseCheck(
        CheckRule("slot-cpts", "§11.10; §16 no. 8, 12", kit=("4.8.1.05", "4.8.2.06")),
        of_each("Slot", rules.cpts_services),
        (CPTS,),
    ),
    ResponseCheck(CheckRule("slot-ps-cpts", "§20 no. 35", kit=("4.7.02",)), of_each("Slot", cpts_hidden), (PS, SOS)),
)
_PRACTITIONER_CHECKS = (
    ResponseCheck(
        CheckRule("practitioner-identifier", "§3.4; §20 no. 38", kit=("4.3.03", "4.6.02")),
        of_each("Practitioner", practitioner_identifiers),
        _AGENDA,
    ),
    ResponseCheck(CheckRule("practitioner-asked", "§3.4 no. 3", kit=("4.3.03", "4.6.02")), asked, _AGENDA),
    ResponseCheck(
        CheckRule("practitioner-once", "§3.1; §16 no. 10", kit=("4.3.02", "4.4.02", "4.5.02")), people_once, _AGENDA
    ),
    ResponseCheck(
        CheckRule("practitioner-name", "§19 no. 33", kit=("4.6.03", "4.6.04")),
        of_each("Practitioner", rules.practitioner_names),
        _AGENDA,
    ),
    ResponseCheck(CheckRule("practitioner-account", "§20 no. 36"), accounts, _AGENDA),
    ResponseCheck(
        CheckRule("schedule-actor", "§3.1; §16 no. 11", kit=("4.3.05", "4.4.06", "4.4.07")), schedules, _AGENDA
    ),
    ResponseCheck(
        CheckRule("role-structure", "§10; §20 no. 23, 33", kit=("4.6.06",)),
        of_each("PractitionerRole", rules.role_structure),
        _AGENDA,
    ),
    ResponseCheck(
        CheckRule("role-location", "§3.1; §16 no. 13", kit=("4.3.05", "4.4.08")),
        of_each("PractitionerRole", rules.role_location),
        _AGENDA,
    ),
    ResponseCheck(
        CheckRule("location-address", "§11.6; §19 no. 38 to 40", kit=("4.3.06",)), of_places(rules.location_address)
    ),
    ResponseCheck(CheckRule("location-identifier", "§11.6; §10"), of_places(rules.location_identifiers)),
    ResponseCheck(CheckRule("specialty-text", "§20 no. 12", "warning", kit=("4.2.02",)), of_all(rules.specialties)),
    ResponseCheck(CheckRule("phone", "§10; §16 no. 5", kit=("4.6.05",)), of_all(rules.phones)),
    ResponseCheck(CheckRule("identifier-oid", "§16 no. 4"), of_all(rules.oids)),
)
_NETWORK_CHECKS = (
    ResponseCheck(CheckRule("cpts-service", "§16 no. 12", kit=("4.3.11", "4.3.12")), services, (CPTS,)),
    ResponseCheck(
        CheckRule("cpts-identifier", "§10; §20 no. 13", kit=("4.3.13",)),
        of_each("Organization", cpts_identifier),
        (CPTS,),
    ),
    ResponseCheck(
        CheckRule("cpts-contact", "§11.12", "warning", kit=("4.9.02", "4.9.03")),
        of_each("Organization", rules.cpts_contact),
        (CPTS,),
    ),
    ResponseCheck(CheckRule("sos-identifier", "§11.17"), of_each("Organization", sos_identifier), (SOS,)),
    ResponseCheck(CheckRule("sos-asked", "§4"), sos_asked, (SOS,)),
    ResponseCheck(CheckRule("sos-location", "§11.16; §20 no. 15"), of_each("Location", sos_place), (SOS,)),
    ResponseCheck(CheckRule("sos-schedule", "§4; §16 no. 11"), sos_schedules, (SOS,)),
)
CHECKS = (*BUNDLE_CHECKS, *_SLOT_CHECKS, *_PRACTITIONER_CHECKS, *_NETWORK_CHECKS)
"""In the order of the reports."""
