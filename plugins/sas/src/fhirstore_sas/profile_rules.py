"""The rules of each response profile with their severities, and the additional ones of `$sas-check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fhirstore.plugins import Issue, Message
from fhirstore_sas import rules
from fhirstore_sas.check import texts
from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.names import FR_LOCATION_IDENTIFIER_TYPE, IDNST_SYSTEM, SAS, SAS_FR
from fhirstore_sas.rules import Fault, JsonNode
from fhirstore_sas.value_formats import CORSICAN_FINESS, FINESS, SIRET


@dataclass(frozen=True)
class ProfileRule:
    """A rule of a profile. rule: its id, as in `sas check` (docs/sas/rules.md). severity: error | warning."""

    rule: str
    find: Callable[[JsonNode], Iterable[Fault]]
    severity: str = "error"


_CONTACT = (ProfileRule("phone", rules.phones), ProfileRule("identifier-oid", rules.oids))
_SPECIALTY = (ProfileRule("specialty-text", rules.specialties, "warning"),)
_ANY_SLOT = (
    ProfileRule("slot-instant", rules.slot_instants),
    ProfileRule("slot-order", rules.slot_order),
    ProfileRule("slot-comment", rules.booking_page),
    ProfileRule("slot-comment-query", rules.booking_page_query, "warning"),
    ProfileRule("slot-appointment", rules.only_known_appointment_types),
    ProfileRule("slot-appointment", rules.has_appointment_type, "warning"),
    ProfileRule("slot-consultation", rules.consultations, "warning"),
    *_SPECIALTY,
)
_ANY_BUNDLE = (
    ProfileRule("bundle-type", rules.bundle_type),
    ProfileRule("bundle-total", rules.bundle_total),
)
_ONE_PAGE = (*_ANY_BUNDLE, ProfileRule("self-link", rules.bundle_link))

PS_SLOT = SAS_FR + "FrSlotAgregateur"
CPTS_SLOT = SAS + "sas-cpts-slot-aggregator"
SOS_SLOT = SAS + "sas-sos-slot-aggregator"
SCHEDULE = SAS_FR + "FrScheduleAgregateur"
PRACTITIONER = SAS_FR + "FrPractitionerAgregateur"
ROLE = SAS_FR + "FrPractitionerRoleExerciceAgregateur"
SOS_SCHEDULE = SAS + "sas-sos-schedule-aggregator"
SOS_LOCATION = SAS + "sas-sos-location-aggregator"
SOS_ORGANIZATION = SAS + "sas-sos-organization-aggregator"
CPTS_SERVICE = SAS + "sas-cpts-healthcareservice-aggregator"
CPTS_ORGANIZATION = SAS + "sas-cpts-organization-aggregator"
BUNDLE_PROFILES = frozenset(
    (SAS_FR + "BundleAgregateur", SAS + "sas-cpts-bundle-aggregator", SAS + "sas-sos-bundle-aggregator")
)

PROFILE_RULES: Mapping[str, tuple[ProfileRule, ...]] = {
    PS_SLOT: (*_ANY_SLOT, ProfileRule("slot-label", rules.ps_labels, "warning")),
    CPTS_SLOT: (
        *_ANY_SLOT,
        ProfileRule("slot-label", rules.cpts_labels, "warning"),
        ProfileRule("slot-cpts", rules.cpts_services),
    ),
    SOS_SLOT: (*_ANY_SLOT, ProfileRule("slot-label", rules.sos_labels, "warning")),
    SCHEDULE: (ProfileRule("schedule-actor", rules.schedule_actors),),
    PRACTITIONER: (
        ProfileRule("practitioner-identifier", rules.practitioner_id_prefixes),
        ProfileRule("practitioner-name", rules.practitioner_names, "warning"),
        *_CONTACT,
    ),
    ROLE: (
        ProfileRule("role-structure", rules.role_structure_prefix),
        ProfileRule("role-structure", rules.role_structure, "warning"),
        ProfileRule("location-address", rules.contained_addresses),
        *_SPECIALTY,
        *_CONTACT,
    ),
    SAS_FR + "FrLocationAgregateur": (ProfileRule("location-address", rules.location_address), *_CONTACT),
    CPTS_SERVICE: _CONTACT,
    CPTS_ORGANIZATION: (ProfileRule("cpts-contact", rules.cpts_contact, "warning"), *_CONTACT),
    SOS_SCHEDULE: (ProfileRule("sos-schedule", rules.sos_schedule_actor),),
    SOS_LOCATION: (ProfileRule("location-address", rules.location_address), *_CONTACT),
    SOS_ORGANIZATION: _CONTACT,
    SAS_FR + "BundleAgregateur": _ANY_BUNDLE,
    SAS + "sas-cpts-bundle-aggregator": _ONE_PAGE,
    SAS + "sas-sos-bundle-aggregator": _ONE_PAGE,
}
"""Canonical of the profile -> its rules. Constraints of the profile itself are repeated only for clearer messages."""
NO_RULES: Mapping[str, tuple[ProfileRule, ...]] = MappingProxyType({})


def issues(
    resource: JsonNode, profile: str, additional: Mapping[str, tuple[ProfileRule, ...]] = NO_RULES
) -> list[Issue]:
    """Violations of the rules of a profile and of `additional` rules. Each fault is reported once, as an error if one
    of its rules is an error."""
    faults: dict[tuple[str, str], tuple[Fault, str]] = {}
    for one in (*PROFILE_RULES.get(profile, ()), *additional.get(profile, ())):
        for fault in one.find(resource):
            faults.setdefault((one.rule, fault.where), (fault, one.severity))
    return [issue(rule, fault, severity) for (rule, _), (fault, severity) in faults.items()]


def issue(rule: str, fault: Fault, severity: str = "error") -> Issue:
    """The issue of a fault."""
    title, remedy = texts.RULES[rule]
    if fault.found:
        text = Message(
            "{place}: {title} ({found}). {remedy}", place=fault.where, title=title, found=fault.found, remedy=remedy
        )
    else:
        text = Message("{place}: {title}. {remedy}", place=fault.where, title=title, remedy=remedy)
    return Issue(severity, "business-rule", text, (fault.where,), rule)


def _place_identifiers(place: JsonNode) -> Iterator[Fault]:
    """One identifier must be complete; responses leave the others out."""
    found = rules.location_identifiers(place)
    faults = list(found)
    if len(faults) >= max(1, len(place.each("identifier"))):
        yield faults[0]


def _contained_identifiers(role: JsonNode) -> Iterator[Fault]:
    for place in rules.contained_locations(role):
        yield from _place_identifiers(place)


def _sos_place(place: JsonNode) -> Iterator[Fault]:
    """The Location must have a name and an identifier of the editor; responses then leave other identifiers out."""
    if not place.get("name").text.strip():
        yield place.get("name").fault()
    if not any(code == "INTRN" for one in place.each("identifier") for _, code in one.get("type").codings()):
        yield place.get("identifier").fault(f"{FR_LOCATION_IDENTIFIER_TYPE}#INTRN")


def _finess(organization: JsonNode) -> Iterator[Fault]:
    """A FINESS is required. Responses add its prefix and type, and leave other identifiers out."""
    if not any(FINESS.fullmatch(id) or CORSICAN_FINESS.fullmatch(id) for id in _structure_ids(organization)):
        yield organization.get("identifier").fault(f"{IDNST_SYSTEM}, {FINESS.pattern}")


def _siret(organization: JsonNode) -> Iterator[Fault]:
    if not any(SIRET.fullmatch(id) for id in _structure_ids(organization)):
        yield organization.get("identifier").fault(f"{IDNST_SYSTEM}, {SIRET.pattern}")


def _structure_ids(organization: JsonNode) -> Iterator[str]:
    for one in organization.each("identifier"):
        if one.get("system").text == IDNST_SYSTEM:
            yield with_prefix(IDNST_SYSTEM, one.get("value").text) or ""


STORED_RESOURCE_RULES: Mapping[str, tuple[ProfileRule, ...]] = {
    ROLE: (
        ProfileRule("role-location", rules.role_location),
        ProfileRule("location-identifier", _contained_identifiers),
    ),
    SOS_LOCATION: (ProfileRule("sos-location", _sos_place), ProfileRule("location-identifier", _place_identifiers)),
    CPTS_ORGANIZATION: (ProfileRule("cpts-identifier", _finess),),
    SOS_ORGANIZATION: (ProfileRule("sos-identifier", _siret),),
}
"""Canonical of the profile -> additional rules for stored resources: constraints of the response profiles that
responses cannot repair (SPEC §3.4, §4, §11). Most stored resources claim no profile, so writes do not check them."""
