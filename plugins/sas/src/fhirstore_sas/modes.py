"""The modes of SAS searches. The request determines the mode, not the data (SPEC §3.3).

PS: slots of individual practitioners (INT_R01). CPTS: slots shared with CPTS (INT_R04). SOS: SOS Médecins. All other
searches are plain FHIR.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fhirstore_sas.names import SAS, SAS_FR

PRACTITIONER_CHAIN = "schedule.actor:Practitioner.identifier"
PLACE_CHAIN = "actor:Location.organization.identifier"
SLOT_CRITERIA = "_has:Slot:schedule:"
CPTS_INCLUDE = "Slot:service-type-reference"


@dataclass(frozen=True)
class Mode:
    """A kind of SAS search. bundle: the profile of the response. profiles: resource type -> profile of its entries; the
    response contains no other types. hidden: slot labels that the response does not contain."""

    name: str
    bundle: str
    profiles: Mapping[str, str]
    hidden: frozenset[str] = frozenset()


_AGENDA = {
    "Schedule": SAS_FR + "FrScheduleAgregateur",
    "Practitioner": SAS_FR + "FrPractitionerAgregateur",
    "PractitionerRole": SAS_FR + "FrPractitionerRoleExerciceAgregateur",
}

PS = Mode(
    "PS",
    SAS_FR + "BundleAgregateur",
    {"Slot": SAS_FR + "FrSlotAgregateur", **_AGENDA},
    hidden=frozenset(("CPTS",)),
)
CPTS = Mode(
    "CPTS",
    SAS + "sas-cpts-bundle-aggregator",
    {
        "Slot": SAS + "sas-cpts-slot-aggregator",
        **_AGENDA,
        "HealthcareService": SAS + "sas-cpts-healthcareservice-aggregator",
        "Organization": SAS + "sas-cpts-organization-aggregator",
    },
)
SOS = Mode(
    "SOS",
    SAS + "sas-sos-bundle-aggregator",
    {
        "Slot": SAS + "sas-sos-slot-aggregator",
        "Schedule": SAS + "sas-sos-schedule-aggregator",
        "Location": SAS + "sas-sos-location-aggregator",
        "Organization": SAS + "sas-sos-organization-aggregator",
    },
    hidden=frozenset(("PRO", "CPTS")),
)

CONTAINED_LOCATION = SAS_FR + "FrLocationAgregateur"


def search_mode(type: str, params: Iterable[tuple[str, str]]) -> Mode | None:
    """The mode of a search on `type` with these decoded parameters; None for plain FHIR. An empty list of practitioners
    or structures is a SAS search, too: it must return no slots rather than all slots."""
    given = [(name.strip(), value.strip()) for name, value in params]
    names = {name for name, _ in given}
    if type == "Slot" and PRACTITIONER_CHAIN in names:
        return CPTS if any(name == "_include" and _includes_cpts(value) for name, value in given) else PS
    if type == "Schedule" and PLACE_CHAIN in names and any(name.startswith(SLOT_CRITERIA) for name in names):
        return SOS
    return None


def _includes_cpts(include: str) -> bool:
    return include == CPTS_INCLUDE or include == CPTS_INCLUDE + ":HealthcareService"
