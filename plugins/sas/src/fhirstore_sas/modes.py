"""What a SAS search is: the request alone decides, never the data (SPEC §3.3).

PS: slots of individual practitioners (INT_R01). CPTS: slots shared with CPTS (INT_R04). SOS: SOS Médecins.
Everything else is plain FHIR.
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
    """One kind of SAS search. bundle: the profile of the answer. profiles: by resource type, what its entries are
    stamped with; other types have no place in the answer. hidden: slot labels that are taken out of the answer."""

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
    """The mode of a search on `type` with these decoded parameters; None = plain FHIR. A blank list of practitioners or
    places counts too: who asks for nobody's slots must not get everybody's."""
    given = [(name.strip(), value.strip()) for name, value in params]
    names = {name for name, _ in given}
    if type == "Slot" and PRACTITIONER_CHAIN in names:
        return CPTS if any(name == "_include" and _asks_for_cpts(value) for name, value in given) else PS
    if type == "Schedule" and PLACE_CHAIN in names and any(name.startswith(SLOT_CRITERIA) for name in names):
        return SOS
    return None


def _asks_for_cpts(include: str) -> bool:
    return include == CPTS_INCLUDE or include == CPTS_INCLUDE + ":HealthcareService"
