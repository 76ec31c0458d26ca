"""CPTS with their services, and associations of SOS Médecins with their places, in an answer (SPEC §4, §16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fhirstore_sas.check.answer import Answer, Check, name_of, of_each
from fhirstore_sas.check.model import Rule
from fhirstore_sas.json_node import Fault
from fhirstore_sas.modes import CPTS, SOS
from fhirstore_sas.rules import networks


def services(answer: Answer) -> Iterator[Fault]:
    """One HealthcareService for each Organization."""
    owners = Counter(s.get("providedBy").reference for s in answer.all("HealthcareService"))
    for organization in answer.all("Organization"):
        count = owners[name_of(organization)]
        if count != 1:
            yield Fault(organization.path, f"{name_of(organization)}: {count} HealthcareService", "1")


def sos_asked(answer: Answer) -> Iterator[Fault]:
    for organization in answer.all("Organization"):
        for one in organization.each("identifier")[:1]:
            if one.get("value").text not in answer.search.ids:
                yield one.get("value").fault(" | ".join(answer.search.ids))


def sos_schedules(answer: Answer) -> Iterator[Fault]:
    """One for each place."""
    places: Counter[str] = Counter()
    for schedule in answer.all("Schedule"):
        yield from networks.sos_actor(schedule)
        places.update(actor.reference for actor in schedule.each("actor"))
    for place, count in places.items():
        if count > 1:
            yield Fault("Bundle.entry.resource.ofType(Schedule)", f"{place}: {count}", "1")


CHECKS = (
    Check(Rule("cpts-service", "§16 no. 12", kit=("4.3.11", "4.3.12")), services, (CPTS,)),
    Check(
        Rule("cpts-identifier", "§10; §20 no. 13", kit=("4.3.13",)),
        of_each("Organization", networks.cpts_identifier),
        (CPTS,),
    ),
    Check(
        Rule("cpts-contact", "§11.12", "warning", kit=("4.9.02", "4.9.03")),
        of_each("Organization", networks.contact),
        (CPTS,),
    ),
    Check(Rule("sos-identifier", "§11.17"), of_each("Organization", networks.sos_identifier), (SOS,)),
    Check(Rule("sos-asked", "§4"), sos_asked, (SOS,)),
    Check(Rule("sos-location", "§11.16; §20 no. 15"), of_each("Location", networks.sos_place), (SOS,)),
    Check(Rule("sos-schedule", "§4; §16 no. 11"), sos_schedules, (SOS,)),
)
