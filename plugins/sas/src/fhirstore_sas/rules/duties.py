"""Which rules bear on a resource in the role of an answer profile, and how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fhirstore.plugins import Issue, Message
from fhirstore_sas.check import texts
from fhirstore_sas.names import SAS, SAS_FR
from fhirstore_sas.parts import Fault, Part
from fhirstore_sas.rules import bundles, networks, people, slots


@dataclass(frozen=True)
class Duty:
    """rule: its id, as in `sas check` (docs/sas/rules.md). severity: error | warning."""

    rule: str
    find: Callable[[Part], Iterable[Fault]]
    severity: str = "error"


_CONTACT = (Duty("phone", people.phones), Duty("identifier-oid", people.oids))
_SPECIALTY = (Duty("specialty-text", people.specialties, "warning"),)
_ANY_SLOT = (
    Duty("slot-instant", slots.instants),
    Duty("slot-order", slots.order),
    Duty("slot-comment", slots.page),
    Duty("slot-comment-query", slots.page_query, "warning"),
    Duty("slot-appointment", slots.appointment_handled),
    Duty("slot-appointment", slots.appointment_given, "warning"),
    Duty("slot-consultation", slots.consultations, "warning"),
    *_SPECIALTY,
)
_ANY_BUNDLE = (
    Duty("bundle-type", bundles.kind),
    Duty("bundle-total", bundles.total),
)
_ONE_PAGE = (*_ANY_BUNDLE, Duty("self-link", bundles.one_link))

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
BUNDLES = frozenset(
    (SAS_FR + "BundleAgregateur", SAS + "sas-cpts-bundle-aggregator", SAS + "sas-sos-bundle-aggregator")
)

DUTIES: Mapping[str, tuple[Duty, ...]] = {
    PS_SLOT: (*_ANY_SLOT, Duty("slot-label", slots.ps_labels, "warning")),
    CPTS_SLOT: (
        *_ANY_SLOT,
        Duty("slot-label", slots.cpts_labels, "warning"),
        Duty("slot-cpts", slots.cpts_services),
    ),
    SOS_SLOT: (*_ANY_SLOT, Duty("slot-label", slots.sos_labels, "warning")),
    SCHEDULE: (Duty("schedule-actor", people.actors),),
    PRACTITIONER: (
        Duty("practitioner-identifier", people.identifier_prefixes),
        Duty("practitioner-name", people.names, "warning"),
        *_CONTACT,
    ),
    ROLE: (
        Duty("role-structure", people.structure_prefix),
        Duty("role-structure", people.structure, "warning"),
        Duty("location-address", people.addresses),
        *_SPECIALTY,
        *_CONTACT,
    ),
    SAS_FR + "FrLocationAgregateur": (Duty("location-address", people.address), *_CONTACT),
    CPTS_SERVICE: _CONTACT,
    CPTS_ORGANIZATION: (Duty("cpts-contact", networks.contact, "warning"), *_CONTACT),
    SOS_SCHEDULE: (Duty("sos-schedule", networks.sos_actor),),
    SOS_LOCATION: (Duty("location-address", people.address), *_CONTACT),
    SOS_ORGANIZATION: _CONTACT,
    SAS_FR + "BundleAgregateur": _ANY_BUNDLE,
    SAS + "sas-cpts-bundle-aggregator": _ONE_PAGE,
    SAS + "sas-sos-bundle-aggregator": _ONE_PAGE,
}
"""By canonical. What the profiles state themselves is left to them, unless it is needed to tell what is missing."""
NONE: Mapping[str, tuple[Duty, ...]] = MappingProxyType({})


def issues(resource: Part, profile: str, further: Mapping[str, tuple[Duty, ...]] = NONE) -> Iterator[Issue]:
    """What breaks the rules of this profile, and `further` ones by profile: each fault once, an error rather than a
    warning."""
    told = set()
    for duty in (*DUTIES.get(profile, ()), *further.get(profile, ())):
        for fault in duty.find(resource):
            if (duty.rule, fault.where) not in told:
                told.add((duty.rule, fault.where))
                yield issue(duty.rule, fault, duty.severity)


def issue(rule: str, fault: Fault, severity: str = "error") -> Issue:
    """A fault as a business rule that was broken."""
    title, remedy = texts.RULES[rule]
    if fault.found:
        text = Message(
            "{place}: {title} ({found}). {remedy}", place=fault.where, title=title, found=fault.found, remedy=remedy
        )
    else:
        text = Message("{place}: {title}. {remedy}", place=fault.where, title=title, remedy=remedy)
    return Issue(severity, "business-rule", text, (fault.where,), rule)
