"""The rules of each response profile and their severities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fhirstore.plugins import Issue, Message
from fhirstore_sas.check import texts
from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.names import SAS, SAS_FR
from fhirstore_sas.rules import bundles, networks, professionals, slots


@dataclass(frozen=True)
class ProfileRule:
    """A rule of a profile. rule: its id, as in `sas check` (docs/sas/rules.md). severity: error | warning."""

    rule: str
    find: Callable[[JsonNode], Iterable[Fault]]
    severity: str = "error"


_CONTACT = (ProfileRule("phone", professionals.phones), ProfileRule("identifier-oid", professionals.oids))
_SPECIALTY = (ProfileRule("specialty-text", professionals.specialties, "warning"),)
_ANY_SLOT = (
    ProfileRule("slot-instant", slots.instants),
    ProfileRule("slot-order", slots.order),
    ProfileRule("slot-comment", slots.page),
    ProfileRule("slot-comment-query", slots.page_query, "warning"),
    ProfileRule("slot-appointment", slots.appointment_handled),
    ProfileRule("slot-appointment", slots.appointment_given, "warning"),
    ProfileRule("slot-consultation", slots.consultations, "warning"),
    *_SPECIALTY,
)
_ANY_BUNDLE = (
    ProfileRule("bundle-type", bundles.kind),
    ProfileRule("bundle-total", bundles.total),
)
_ONE_PAGE = (*_ANY_BUNDLE, ProfileRule("self-link", bundles.one_link))

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
    PS_SLOT: (*_ANY_SLOT, ProfileRule("slot-label", slots.ps_labels, "warning")),
    CPTS_SLOT: (
        *_ANY_SLOT,
        ProfileRule("slot-label", slots.cpts_labels, "warning"),
        ProfileRule("slot-cpts", slots.cpts_services),
    ),
    SOS_SLOT: (*_ANY_SLOT, ProfileRule("slot-label", slots.sos_labels, "warning")),
    SCHEDULE: (ProfileRule("schedule-actor", professionals.actors),),
    PRACTITIONER: (
        ProfileRule("practitioner-identifier", professionals.identifier_prefixes),
        ProfileRule("practitioner-name", professionals.names, "warning"),
        *_CONTACT,
    ),
    ROLE: (
        ProfileRule("role-structure", professionals.structure_prefix),
        ProfileRule("role-structure", professionals.structure, "warning"),
        ProfileRule("location-address", professionals.addresses),
        *_SPECIALTY,
        *_CONTACT,
    ),
    SAS_FR + "FrLocationAgregateur": (ProfileRule("location-address", professionals.address), *_CONTACT),
    CPTS_SERVICE: _CONTACT,
    CPTS_ORGANIZATION: (ProfileRule("cpts-contact", networks.contact, "warning"), *_CONTACT),
    SOS_SCHEDULE: (ProfileRule("sos-schedule", networks.sos_actor),),
    SOS_LOCATION: (ProfileRule("location-address", professionals.address), *_CONTACT),
    SOS_ORGANIZATION: _CONTACT,
    SAS_FR + "BundleAgregateur": _ANY_BUNDLE,
    SAS + "sas-cpts-bundle-aggregator": _ONE_PAGE,
    SAS + "sas-sos-bundle-aggregator": _ONE_PAGE,
}
"""Canonical of the profile -> its rules. Constraints of the profile itself are repeated only for clearer messages."""
NO_RULES: Mapping[str, tuple[ProfileRule, ...]] = MappingProxyType({})


def issues(
    resource: JsonNode, profile: str, additional: Mapping[str, tuple[ProfileRule, ...]] = NO_RULES
) -> Iterator[Issue]:
    """Violations of the rules of a profile and of `additional` rules. Each fault is reported once, as an error if one
    of its rules is an error."""
    seen = set()
    for one in (*PROFILE_RULES.get(profile, ()), *additional.get(profile, ())):
        for fault in one.find(resource):
            if (one.rule, fault.where) not in seen:
                seen.add((one.rule, fault.where))
                yield issue(one.rule, fault, one.severity)


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
