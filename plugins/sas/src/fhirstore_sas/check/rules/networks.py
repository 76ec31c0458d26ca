"""Rules on CPTS with their services and on associations of SOS Médecins with their places (SPEC §4, §16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fhirstore_sas.check.model import CheckRule
from fhirstore_sas.check.response import CheckedResponse, ResponseCheck, name_of, of_each
from fhirstore_sas.json_node import Fault
from fhirstore_sas.modes import CPTS, SOS
from fhirstore_sas.rules import networks


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
        yield from networks.sos_actor(schedule)
        places.update(actor.reference for actor in schedule.each("actor"))
    for place, count in places.items():
        if count > 1:
            yield Fault("Bundle.entry.resource.ofType(Schedule)", f"{place}: {count}", "1")


CHECKS = (
    ResponseCheck(CheckRule("cpts-service", "§16 no. 12", kit=("4.3.11", "4.3.12")), services, (CPTS,)),
    ResponseCheck(
        CheckRule("cpts-identifier", "§10; §20 no. 13", kit=("4.3.13",)),
        of_each("Organization", networks.cpts_identifier),
        (CPTS,),
    ),
    ResponseCheck(
        CheckRule("cpts-contact", "§11.12", "warning", kit=("4.9.02", "4.9.03")),
        of_each("Organization", networks.contact),
        (CPTS,),
    ),
    ResponseCheck(CheckRule("sos-identifier", "§11.17"), of_each("Organization", networks.sos_identifier), (SOS,)),
    ResponseCheck(CheckRule("sos-asked", "§4"), sos_asked, (SOS,)),
    ResponseCheck(CheckRule("sos-location", "§11.16; §20 no. 15"), of_each("Location", networks.sos_place), (SOS,)),
    ResponseCheck(CheckRule("sos-schedule", "§4; §16 no. 11"), sos_schedules, (SOS,)),
)
