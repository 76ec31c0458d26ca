"""Rules on practitioners, their schedules, and their roles with the places in them (SPEC §3.4, §10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from fhirstore_sas.check.model import CheckRule
from fhirstore_sas.check.response import CheckedResponse, ResponseCheck, name_of, of_each
from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.modes import CPTS, PS
from fhirstore_sas.names import PLATFORM
from fhirstore_sas.rules import professionals


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
        practitioners, own = professionals.actor_references(schedule)
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
        yield from professionals.contained_locations(role)
    yield from response.all("Location")


_AGENDA = (PS, CPTS)

CHECKS = (
    ResponseCheck(
        CheckRule("practitioner-identifier", "§3.4; §20 no. 38", kit=("4.3.03", "4.6.02")),
        of_each("Practitioner", professionals.identifiers),
        _AGENDA,
    ),
    ResponseCheck(CheckRule("practitioner-asked", "§3.4 no. 3", kit=("4.3.03", "4.6.02")), asked, _AGENDA),
    ResponseCheck(
        CheckRule("practitioner-once", "§3.1; §16 no. 10", kit=("4.3.02", "4.4.02", "4.5.02")), people_once, _AGENDA
    ),
    ResponseCheck(
        CheckRule("practitioner-name", "§19 no. 33", kit=("4.6.03", "4.6.04")),
        of_each("Practitioner", professionals.names),
        _AGENDA,
    ),
    ResponseCheck(CheckRule("practitioner-account", "§20 no. 36"), accounts, _AGENDA),
    ResponseCheck(
        CheckRule("schedule-actor", "§3.1; §16 no. 11", kit=("4.3.05", "4.4.06", "4.4.07")), schedules, _AGENDA
    ),
    ResponseCheck(
        CheckRule("role-structure", "§10; §20 no. 23, 33", kit=("4.6.06",)),
        of_each("PractitionerRole", professionals.structure),
        _AGENDA,
    ),
    ResponseCheck(
        CheckRule("role-location", "§3.1; §16 no. 13", kit=("4.3.05", "4.4.08")),
        of_each("PractitionerRole", professionals.location),
        _AGENDA,
    ),
    ResponseCheck(
        CheckRule("location-address", "§11.6; §19 no. 38 to 40", kit=("4.3.06",)), of_places(professionals.address)
    ),
    ResponseCheck(CheckRule("location-identifier", "§11.6; §10"), of_places(professionals.location_identifiers)),
    ResponseCheck(
        CheckRule("specialty-text", "§20 no. 12", "warning", kit=("4.2.02",)), of_all(professionals.specialties)
    ),
    ResponseCheck(CheckRule("phone", "§10; §16 no. 5", kit=("4.6.05",)), of_all(professionals.phones)),
    ResponseCheck(CheckRule("identifier-oid", "§16 no. 4"), of_all(professionals.oids)),
)
