"""CPTS with their services, and associations of SOS Médecins with their places (SPEC §4, §11.11 to §11.17)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from fhirstore_sas.check.answer import Answer, Check, name_of
from fhirstore_sas.check.model import Fault, Part, Rule
from fhirstore_sas.modes import CPTS, SOS
from fhirstore_sas.names import FR_CORE_V2_0203, FR_LOCATION_IDENTIFIER_TYPE, IDNST_SYSTEM

_FINESS = re.compile(r"1\d{9}", re.ASCII)
_SIRET = re.compile(r"3\d{14}", re.ASCII)


def services(answer: Answer) -> Iterator[Fault]:
    """One HealthcareService for each Organization."""
    owners = Counter(s.get("providedBy").reference for s in answer.all("HealthcareService"))
    for organization in answer.all("Organization"):
        count = owners[name_of(organization)]
        if count != 1:
            yield Fault(organization.path, f"{name_of(organization)}: {count} HealthcareService", "1")


def cpts_identifiers(answer: Answer) -> Iterator[Fault]:
    for organization in answer.all("Organization"):
        yield from _structure(organization, _FINESS, (FR_CORE_V2_0203, FR_LOCATION_IDENTIFIER_TYPE))


def contacts(answer: Answer) -> Iterator[Fault]:
    for organization in answer.all("Organization"):
        if not organization.get("name").text.strip():
            yield organization.get("name").fault()
        if not any(t.get("value").text for t in organization.each("telecom")):
            yield organization.get("telecom").fault()


def sos_identifiers(answer: Answer) -> Iterator[Fault]:
    for organization in answer.all("Organization"):
        yield from _structure(organization, _SIRET, (FR_LOCATION_IDENTIFIER_TYPE,))


def _structure(organization: Part, form: re.Pattern[str], types: tuple[str, ...]) -> Iterator[Fault]:
    found = organization.each("identifier")
    one = found[0] if len(found) == 1 else organization.get("identifier")
    is_typed = any(system in types and code == "IDNST" for system, code in one.get("type").codings())
    if one.get("system").text != IDNST_SYSTEM or not is_typed or not form.fullmatch(one.get("value").text):
        yield one.fault(f"1 × {types[0]}#IDNST, {IDNST_SYSTEM}, {form.pattern}")


def sos_asked(answer: Answer) -> Iterator[Fault]:
    for organization in answer.all("Organization"):
        for one in organization.each("identifier")[:1]:
            if one.get("value").text not in answer.search.ids:
                yield one.get("value").fault(" | ".join(answer.search.ids))


def sos_places(answer: Answer) -> Iterator[Fault]:
    for place in answer.all("Location"):
        if not place.get("name").text.strip():
            yield place.get("name").fault()
        for one in place.each("identifier"):
            if list(one.get("type").codings()) != [(FR_LOCATION_IDENTIFIER_TYPE, "INTRN")]:
                yield one.get("type").fault(f"{FR_LOCATION_IDENTIFIER_TYPE}#INTRN")


def sos_schedules(answer: Answer) -> Iterator[Fault]:
    """One for each place."""
    places: Counter[str] = Counter()
    for schedule in answer.all("Schedule"):
        actors = [actor.reference for actor in schedule.each("actor")]
        places.update(actors)
        if len(actors) != 1 or not actors[0].startswith("Location/"):
            yield schedule.get("actor").fault("Location/…")
    for place, count in places.items():
        if count > 1:
            yield Fault("Bundle.entry.resource.ofType(Schedule)", f"{place}: {count}", "1")


CHECKS = (
    Check(Rule("cpts-service", "§16 no. 12", kit=("4.3.11", "4.3.12")), services, (CPTS,)),
    Check(Rule("cpts-identifier", "§10; §20 no. 13", kit=("4.3.13",)), cpts_identifiers, (CPTS,)),
    Check(Rule("cpts-contact", "§11.12", "warning", kit=("4.9.02", "4.9.03")), contacts, (CPTS,)),
    Check(Rule("sos-identifier", "§11.17"), sos_identifiers, (SOS,)),
    Check(Rule("sos-asked", "§4"), sos_asked, (SOS,)),
    Check(Rule("sos-location", "§11.16; §20 no. 15"), sos_places, (SOS,)),
    Check(Rule("sos-schedule", "§4; §16 no. 11"), sos_schedules, (SOS,)),
)
