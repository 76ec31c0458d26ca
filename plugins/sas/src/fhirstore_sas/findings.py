"""Findings about stored slots and their agendas (`$sas-check`, audit of slots)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fhirstore.plugins import Issue, Message, Or, Reference, ResourceReader, Stored
from fhirstore_sas import profile_rules
from fhirstore_sas.names import IDNPS_SYSTEM, IDNST_SYSTEM, SERVICE_TYPE_R5
from fhirstore_sas.profile_rules import STORED_RESOURCE_RULES
from fhirstore_sas.response_entries import is_account_meta, slot_meta
from fhirstore_sas.rules import Fault, JsonNode, is_cpts_service, local
from fhirstore_sas.searches import CPTS, SOS, notations

_MAX_DUPLICATES = 20
"""Practitioners with one national identifier that are read."""
REASONS_LEFT_OUT = {
    "chain-schedule": ("The Schedule of the slot does not exist", "Set Slot.schedule to a stored Schedule."),
    "chain-practitioner": (
        "The schedule has no stored Practitioner",
        "Add to Schedule.actor a stored Practitioner that is not a regulator account.",
    ),
    "chain-identifier": (
        "The practitioner has no national identifier, so searches do not find the slot",
        f"Add the RPPS with system {IDNPS_SYSTEM} to Practitioner.identifier.",
    ),
    "chain-role": (
        "The schedule has no stored PractitionerRole",
        "Add a stored PractitionerRole to Schedule.actor.",
    ),
    "chain-location": ("The schedule has no stored Location", "Add a stored Location to Schedule.actor."),
    "chain-organization": (
        "The Location has no association with a national identifier, so searches do not find the slot",
        f"Set Location.managingOrganization to an Organization with a SIRET, system {IDNST_SYSTEM}.",
    ),
    "slot-hidden": (
        "The labels of the slot hide it",
        "Private slots are not sent. Slots of SOS Médecins have the labels PUBLIC and SNP only.",
    ),
}
"""Rule -> (why responses leave the slot out, what to do)."""


@dataclass
class Finding:
    """An issue of a stored resource. resource: "Type/id". slots: number of affected slots. leaves_out: responses leave
    them out."""

    issue: Issue
    resource: str
    leaves_out: bool
    slots: int = 0


class SlotFindings:
    """Findings about a list of slots. A fault of a schedule or of its actors occurs once, with the number of its
    slots."""

    def __init__(self, reader: ResourceReader) -> None:
        self._reader = reader
        self._rows: dict[str, StoredResource | None] = {}
        self._agendas: dict[str, _Agenda] = {}
        self._networks: dict[str, list[tuple[str, Issue]]] = {}
        self._found: dict[tuple[str, str, tuple[str, ...]], Finding] = {}
        self.left_out: set[str] = set()

    @classmethod
    def of(cls, reader: ResourceReader, rows: Sequence[Stored]) -> SlotFindings:
        found = cls(reader)
        opened = [StoredResource(row) for row in rows]
        found._fetch(local(slot.part.get("schedule").reference) for slot in opened)
        found._fetch(
            ref for slot in opened for ref in _actors(found._rows.get(local(slot.part.get("schedule").reference)))
        )
        found._fetch(_owner(row) for row in list(found._rows.values()) if row is not None and row.type == "Location")
        services = {local(link.reference) for slot in opened for link in _services(slot.part)}
        found._fetch(services)
        found._fetch(_provider(row) for row in map(found._rows.get, services) if row is not None)
        for slot in opened:
            found._check_slot(slot)
        return found

    def __iter__(self) -> Iterator[Finding]:
        """Findings that leave slots out come first, then errors, then warnings."""
        return iter(sorted(self._found.values(), key=lambda one: (not one.leaves_out, one.issue.severity)))

    def _fetch(self, refs: Iterable[str]) -> None:
        wanted = {ref for ref in refs if ref and ref not in self._rows}
        self._rows |= dict.fromkeys(wanted)
        for row in self._reader.read_many(wanted):
            self._rows[row.ref] = StoredResource(row)

    def _check_slot(self, slot: StoredResource) -> None:
        schedule = local(slot.part.get("schedule").reference)
        agenda = self._agendas.get(schedule)
        if agenda is None:
            agenda = self._agendas[schedule] = self._open(schedule)
        for resource, issue, leaves_out in agenda.faults:
            # A missing schedule is a finding about each slot.
            self._note(resource or slot.ref, issue, leaves_out, slot.ref)
        if agenda.is_sos:
            profile, hidden = profile_rules.SOS_SLOT, SOS.hidden
        else:
            profile, hidden = profile_rules.CPTS_SLOT if _is_shared(slot.part) else profile_rules.PS_SLOT, CPTS.hidden
        if slot_meta(slot.meta, profile, hidden) is None:
            self._note(slot.ref, _left_out("slot-hidden", slot.part.get("meta").get("security").path), True, slot.ref)
        for issue in profile_rules.issues(slot.part, profile):
            self._note(slot.ref, issue, False, slot.ref)
        for link in _services(slot.part):
            service = self._rows.get(local(link.reference))
            if service is None:
                fault = link.fault("HealthcareService/…")
                self._note(slot.ref, profile_rules.issue("reference-resolves", fault), False, slot.ref)
                continue
            if service.ref not in self._networks:
                self._networks[service.ref] = list(self._network(service))
            for resource, issue in self._networks[service.ref]:
                self._note(resource, issue, False, slot.ref)

    def _network(self, service: StoredResource) -> Iterator[tuple[str, Issue]]:
        """(resource, issue) for the service of a CPTS and for the CPTS."""
        yield from (
            (service.ref, issue)
            for issue in profile_rules.issues(service.part, profile_rules.CPTS_SERVICE, STORED_RESOURCE_RULES)
        )
        owner = self._rows.get(_provider(service))
        if owner is None:
            fault = service.part.get("providedBy").fault("Organization/…")
            yield service.ref, profile_rules.issue("reference-resolves", fault)
        else:
            yield from (
                (owner.ref, issue)
                for issue in profile_rules.issues(owner.part, profile_rules.CPTS_ORGANIZATION, STORED_RESOURCE_RULES)
            )

    def _note(self, resource: str, issue: Issue, leaves_out: bool, slot: str) -> None:
        key = (resource, issue.rule or "", issue.expression)
        finding = self._found.setdefault(key, Finding(issue, resource, leaves_out))
        finding.slots += 1
        if leaves_out:
            self.left_out.add(slot)

    def _open(self, ref: str) -> _Agenda:
        schedule = self._rows.get(ref) if ref.startswith("Schedule/") else None
        if schedule is None:
            return _Agenda(False, [("", _left_out("chain-schedule", "Slot.schedule"), True)])
        actors = _actors(schedule)
        places = [row for row in map(self._rows.get, actors) if row is not None and row.type == "Location"]
        is_sos = not any(a.startswith("Practitioner") for a in actors) and any(
            a.startswith("Location/") for a in actors
        )
        agenda = _Agenda(is_sos)
        if is_sos:
            self._association(agenda, schedule, places)
        else:
            self._practitioner(agenda, schedule)
        return agenda

    def _practitioner(self, agenda: _Agenda, schedule: StoredResource) -> None:
        actors = _actors(schedule)
        named = [ref for ref in actors if ref.startswith("Practitioner/")]
        of_roles = [ref for ref in actors if ref.startswith("PractitionerRole/")]
        found = [row for row in map(self._rows.get, named) if row is not None and not is_account_meta(row.meta)]
        roles = [row for row in map(self._rows.get, of_roles) if row is not None]
        where = "Schedule.actor"
        if not found:
            agenda.leave_out(schedule, "chain-practitioner", where)
        elif not any(_has_national(row, IDNPS_SYSTEM) for row in found):
            agenda.leave_out(found[0], "chain-identifier", "Practitioner.identifier")
        if not roles:
            agenda.leave_out(schedule, "chain-role", where)
        agenda.add(schedule, profile_rules.SCHEDULE)
        for row in found:
            agenda.add(row, profile_rules.PRACTITIONER)
            if others := self._duplicates(row):
                fault = Fault("Practitioner.identifier", " | ".join(sorted([row.ref, *others])), "1")
                agenda.faults.append((row.ref, profile_rules.issue("practitioner-once", fault), False))
        for row in roles:
            agenda.add(row, profile_rules.ROLE)
            if named and local(row.part.get("practitioner").reference) not in named:
                fault = row.part.get("practitioner").fault(" | ".join(named))
                agenda.faults.append((row.ref, profile_rules.issue("schedule-actor", fault), False))

    def _duplicates(self, practitioner: StoredResource) -> list[str]:
        """Other Practitioners with a schedule and a national identifier of this one. A response shows each of them."""
        tokens = [
            token
            for one in practitioner.part.each("identifier")
            if one.get("system").text == IDNPS_SYSTEM and one.get("value").text
            for token in notations(IDNPS_SYSTEM, one.get("value").text)
        ]
        same = self._reader.find("Practitioner", Or(tuple(tokens)), limit=_MAX_DUPLICATES).entries if tokens else ()
        return sorted(
            row.ref
            for row in same
            if row.ref != practitioner.ref
            and not is_account_meta(row.meta)
            and self._reader.count("Schedule", Reference("actor", (row.ref,)), 1)
        )

    def _association(self, agenda: _Agenda, schedule: StoredResource, places: list[StoredResource]) -> None:
        if not places:
            agenda.leave_out(schedule, "chain-location", "Schedule.actor")
        owners = [row for row in (self._rows.get(_owner(place)) for place in places) if row is not None]
        if places and not any(_has_national(row, IDNST_SYSTEM) for row in owners):
            agenda.leave_out(places[0], "chain-organization", "Location.managingOrganization")
        agenda.add(schedule, profile_rules.SOS_SCHEDULE)
        for place in places:
            agenda.add(place, profile_rules.SOS_LOCATION)
        for owner in owners:
            agenda.add(owner, profile_rules.SOS_ORGANIZATION)


@dataclass
class _Agenda:
    """A schedule with its actors. faults: (resource, issue, whether it leaves slots out); resource is "" for the
    slot."""

    is_sos: bool
    faults: list[tuple[str, Issue, bool]] = field(default_factory=list)

    def add(self, resource: StoredResource, profile: str) -> None:
        self.faults += [
            (resource.ref, issue, False)
            for issue in profile_rules.issues(resource.part, profile, STORED_RESOURCE_RULES)
        ]

    def leave_out(self, resource: StoredResource, rule: str, where: str) -> None:
        self.faults.append((resource.ref, _left_out(rule, where), True))


class StoredResource:
    """A stored resource, decoded."""

    def __init__(self, row: Stored) -> None:
        self.type, self.ref, self.meta = row.type, row.ref, row.meta
        body: Mapping[str, Any] = msgspec.json.decode(b"{" + row.body + b"}")
        meta = msgspec.json.decode(b"{" + row.meta + b"}")
        self.part = JsonNode(row.type, {"resourceType": row.type, "id": row.id, "meta": meta, **body})


def _left_out(rule: str, where: str) -> Issue:
    what, remedy = REASONS_LEFT_OUT[rule]
    return Issue(
        "error",
        "business-rule",
        Message("{place}: {what}. {remedy}", place=where, what=what, remedy=remedy),
        (where,),
        rule,
    )


def _actors(schedule: StoredResource | None) -> list[str]:
    return [] if schedule is None else [local(actor.reference) for actor in schedule.part.each("actor")]


def _services(slot: JsonNode) -> list[JsonNode]:
    """The references to HealthcareServices of CPTS."""
    return [
        extension.get("valueReference")
        for service in slot.each("serviceType")
        if is_cpts_service(service)
        for extension in service.each("extension")
        if extension.get("url").text == SERVICE_TYPE_R5
    ]


def _provider(service: StoredResource) -> str:
    return local(service.part.get("providedBy").reference)


def _owner(place: StoredResource) -> str:
    return local(place.part.get("managingOrganization").reference)


def _has_national(resource: StoredResource, system: str) -> bool:
    return any(one.get("system").text == system and one.get("value").text for one in resource.part.each("identifier"))


def _is_shared(slot: JsonNode) -> bool:
    """Whether the slot is shared with a CPTS, by a label or a service type."""
    labels = (coding.get("code").text for coding in slot.get("meta").each("security"))
    return "CPTS" in labels or any(map(is_cpts_service, slot.each("serviceType")))
