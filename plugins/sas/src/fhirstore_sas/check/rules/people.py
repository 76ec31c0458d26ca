"""Practitioners, their roles with the places in them, their schedules, in an answer (SPEC §3.4, §10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from fhirstore_sas.check.answer import Answer, Check, name_of, of_each
from fhirstore_sas.check.model import Rule
from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.modes import CPTS, PS
from fhirstore_sas.names import PLATFORM
from fhirstore_sas.rules import professionals


def asked(answer: Answer) -> Iterator[Fault]:
    for practitioner in answer.all("Practitioner"):
        first = next(iter(practitioner.each("identifier")), practitioner.get("identifier")).get("value")
        if first.text not in answer.search.ids:
            yield first.fault(" | ".join(answer.search.ids))


def people_once(answer: Answer) -> Iterator[Fault]:
    """A person asked for is one Practitioner, with whatever number of places."""
    named = Counter(i.get("value").text for p in answer.all("Practitioner") for i in p.each("identifier")[:1])
    yield from (
        Fault("Bundle.entry.resource.ofType(Practitioner)", f"{id}: {n}", "1") for id, n in named.items() if n > 1
    )
    if answer.all("Slot") and not answer.all("Practitioner"):
        yield Fault("Bundle.entry.resource.ofType(Practitioner)", "0", "≥ 1")


def accounts(answer: Answer) -> Iterator[Fault]:
    for practitioner in answer.all("Practitioner"):
        source = practitioner.get("meta").get("source")
        if source.text == PLATFORM:
            yield source.fault()


def schedules(answer: Answer) -> Iterator[Fault]:
    """One Practitioner and one of his roles, no two schedules the same role, no role without schedule."""
    roles: Counter[str] = Counter()
    for schedule in answer.all("Schedule"):
        practitioners, own = professionals.actor_references(schedule)
        roles.update(own)
        owners = {_owner(answer, ref) for ref in own} - {None}
        if len(practitioners) != 1 or len(own) != 1 or owners - set(practitioners):
            yield schedule.get("actor").fault("Practitioner/… + PractitionerRole/…")
    for role in answer.all("PractitionerRole"):
        if roles[name_of(role)] != 1:
            yield Fault(role.path, f"{name_of(role)}: {roles[name_of(role)]} Schedule", "1")


def _owner(answer: Answer, role: str) -> str | None:
    found = answer.by_reference.get(role)
    return found.get("practitioner").reference if found is not None else None


def of_all(judge: Callable[[JsonNode], Iterable[Fault]]) -> Callable[[Answer], Iterator[Fault]]:
    """What is wrong with any resource of the answer."""
    return lambda answer: (fault for one in answer.by_reference.values() for fault in judge(one))


def of_places(judge: Callable[[JsonNode], Iterable[Fault]]) -> Callable[[Answer], Iterator[Fault]]:
    """What is wrong with the places, contained ones too."""
    return lambda answer: (fault for place in _all_places(answer) for fault in judge(place))


def _all_places(answer: Answer) -> Iterator[JsonNode]:
    for role in answer.all("PractitionerRole"):
        yield from professionals.contained_locations(role)
    yield from answer.all("Location")


_AGENDA = (PS, CPTS)

CHECKS = (
    Check(
        Rule("practitioner-identifier", "§3.4; §20 no. 38", kit=("4.3.03", "4.6.02")),
        of_each("Practitioner", professionals.identifiers),
        _AGENDA,
    ),
    Check(Rule("practitioner-asked", "§3.4 no. 3", kit=("4.3.03", "4.6.02")), asked, _AGENDA),
    Check(Rule("practitioner-once", "§3.1; §16 no. 10", kit=("4.3.02", "4.4.02", "4.5.02")), people_once, _AGENDA),
    Check(
        Rule("practitioner-name", "§19 no. 33", kit=("4.6.03", "4.6.04")),
        of_each("Practitioner", professionals.names),
        _AGENDA,
    ),
    Check(Rule("practitioner-account", "§20 no. 36"), accounts, _AGENDA),
    Check(Rule("schedule-actor", "§3.1; §16 no. 11", kit=("4.3.05", "4.4.06", "4.4.07")), schedules, _AGENDA),
    Check(
        Rule("role-structure", "§10; §20 no. 23, 33", kit=("4.6.06",)),
        of_each("PractitionerRole", professionals.structure),
        _AGENDA,
    ),
    Check(
        Rule("role-location", "§3.1; §16 no. 13", kit=("4.3.05", "4.4.08")),
        of_each("PractitionerRole", professionals.location),
        _AGENDA,
    ),
    Check(Rule("location-address", "§11.6; §19 no. 38 to 40", kit=("4.3.06",)), of_places(professionals.address)),
    Check(Rule("location-identifier", "§11.6; §10"), of_places(professionals.location_identifiers)),
    Check(Rule("specialty-text", "§20 no. 12", "warning", kit=("4.2.02",)), of_all(professionals.specialties)),
    Check(Rule("phone", "§10; §16 no. 5", kit=("4.6.05",)), of_all(professionals.phones)),
    Check(Rule("identifier-oid", "§16 no. 4"), of_all(professionals.oids)),
)
