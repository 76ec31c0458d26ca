"""Practitioners, their roles with the places in them, their schedules; identifiers and phones (SPEC §3.4, §10)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from fhirstore_sas.check.answer import Answer, Check, name_of
from fhirstore_sas.check.model import Fault, Part, Rule
from fhirstore_sas.modes import CPTS, PS
from fhirstore_sas.names import FR_V2_0203, IDNPS_SYSTEM, IDNST_SYSTEM, PLATFORM, TRE_R38

PRACTITIONER_ID = re.compile(r"8\d{11}|0[0-9A-Z]{9}", re.ASCII)
STRUCTURE_ID = re.compile(r"1\d{9}|[34]\d{14}|0[0-9A-Z]{9,}", re.ASCII)
PHONE = re.compile(r"\+(33|262|590|594|596)\d{9}", re.ASCII)
POSTAL_CODE = re.compile(r"\d{5}", re.ASCII)
_BARE_OID = re.compile(r"\d+(\.\d+)+|oid:.*", re.ASCII | re.IGNORECASE)


def identifiers(answer: Answer) -> Iterator[Fault]:
    for practitioner in answer.all("Practitioner"):
        found = practitioner.each("identifier")
        if not found:
            yield practitioner.get("identifier").fault(f"{IDNPS_SYSTEM}|8…")
        for one in found:
            if not is_national(one, IDNPS_SYSTEM, FR_V2_0203, "IDNPS") or not _matches(PRACTITIONER_ID, one):
                yield one.fault(f"{FR_V2_0203}#IDNPS, {IDNPS_SYSTEM}, {PRACTITIONER_ID.pattern}")


def is_national(identifier: Part, system: str, type_system: str, code: str) -> bool:
    """Of this system, with this type as its only coding."""
    codings = list(identifier.get("type").codings())
    return identifier.get("system").text == system and codings == [(type_system, code)]


def _matches(form: re.Pattern[str], identifier: Part) -> bool:
    return form.fullmatch(identifier.get("value").text) is not None


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


def names(answer: Answer) -> Iterator[Fault]:
    for practitioner in answer.all("Practitioner"):
        given = [n for n in practitioner.each("name") if n.get("family").text.strip() and n.get("given").value]
        if not given:
            yield practitioner.get("name").fault("family, given")


def accounts(answer: Answer) -> Iterator[Fault]:
    for practitioner in answer.all("Practitioner"):
        source = practitioner.get("meta").get("source")
        if source.text == PLATFORM:
            yield source.fault()


def schedules(answer: Answer) -> Iterator[Fault]:
    """One Practitioner and one of his roles, no two schedules the same role, no role without schedule."""
    roles: Counter[str] = Counter()
    for schedule in answer.all("Schedule"):
        actors = [actor.reference for actor in schedule.each("actor")]
        people = [ref for ref in actors if ref.startswith("Practitioner/")]
        own = [ref for ref in actors if ref.startswith("PractitionerRole/")]
        roles.update(own)
        owners = {_owner(answer, ref) for ref in own} - {None}
        if len(people) != 1 or len(own) != 1 or owners - set(people):
            yield schedule.get("actor").fault("Practitioner/… + PractitionerRole/…")
    for role in answer.all("PractitionerRole"):
        if roles[name_of(role)] != 1:
            yield Fault(role.path, f"{name_of(role)}: {roles[name_of(role)]} Schedule", "1")


def _owner(answer: Answer, role: str) -> str | None:
    found = answer.by_reference.get(role)
    return found.get("practitioner").reference if found is not None else None


def structures(answer: Answer) -> Iterator[Fault]:
    for role in answer.all("PractitionerRole"):
        one = role.get("organization").get("identifier")
        if not is_national(one, IDNST_SYSTEM, FR_V2_0203, "IDNST") or not _matches(STRUCTURE_ID, one):
            yield one.fault(f"{FR_V2_0203}#IDNST, {IDNST_SYSTEM}, {STRUCTURE_ID.pattern}")


def places(answer: Answer) -> Iterator[Fault]:
    """Exactly one Location, contained, and named by its #id."""
    for role in answer.all("PractitionerRole"):
        contained = role.each("contained")
        ids = ["#" + c.get("id").text for c in contained if c.get("resourceType").text == "Location"]
        given = [location.reference for location in role.each("location")]
        if len(contained) != 1 or given != ids:
            yield role.get("location").fault(" ".join(ids) or "contained Location")


def addresses(answer: Answer) -> Iterator[Fault]:
    for place in _all_places(answer):
        address = place.get("address")
        lines = address.get("line").value
        code = address.get("postalCode").text
        if not (isinstance(lines, list) and len(lines) == 1 and lines[0]):
            yield address.get("line").fault("1")
        if not address.get("city").text.strip():
            yield address.get("city").fault()
        if not POSTAL_CODE.fullmatch(code):
            yield address.get("postalCode").fault(POSTAL_CODE.pattern)


def place_identifiers(answer: Answer) -> Iterator[Fault]:
    for place in _all_places(answer):
        found = place.each("identifier")
        if not found:
            yield place.get("identifier").fault("type, system, value")
        for one in found:
            if not (list(one.get("type").codings()) and one.get("system").text and one.get("value").text):
                yield one.fault("type, system, value")


def _all_places(answer: Answer) -> Iterator[Part]:
    for role in answer.all("PractitionerRole"):
        yield from (c for c in role.each("contained") if c.get("resourceType").text == "Location")
    yield from answer.all("Location")


def specialties(answer: Answer) -> Iterator[Fault]:
    """The kit forgives text alone in the first place only."""
    for resource in answer.by_reference.values():
        for specialty in resource.each("specialty")[1:]:
            if specialty.get("text").text and not any(code for _, code in specialty.codings()):
                yield specialty.fault(TRE_R38)


def phones(answer: Answer) -> Iterator[Fault]:
    for resource in [*answer.by_reference.values(), *_all_places(answer)]:
        for telecom in resource.each("telecom"):
            value = telecom.get("value")
            if not telecom.get("system").text:
                yield telecom.fault("system")
            elif telecom.get("system").text == "phone" and not PHONE.fullmatch(value.text):
                yield value.fault(PHONE.pattern)


def oids(answer: Answer) -> Iterator[Fault]:
    for resource in [*answer.by_reference.values(), *_all_places(answer)]:
        for one in [*resource.each("identifier"), resource.get("organization").get("identifier")]:
            system = one.get("system")
            if _BARE_OID.fullmatch(system.text):
                yield system.fault("urn:oid:…")


_AGENDA = (PS, CPTS)

CHECKS = (
    Check(Rule("practitioner-identifier", "§3.4; §20 no. 38", kit=("4.3.03", "4.6.02")), identifiers, _AGENDA),
    Check(Rule("practitioner-asked", "§3.4 no. 3", kit=("4.3.03", "4.6.02")), asked, _AGENDA),
    Check(Rule("practitioner-once", "§3.1; §16 no. 10", kit=("4.3.02", "4.4.02", "4.5.02")), people_once, _AGENDA),
    Check(Rule("practitioner-name", "§19 no. 33", kit=("4.6.03", "4.6.04")), names, _AGENDA),
    Check(Rule("practitioner-account", "§20 no. 36"), accounts, _AGENDA),
    Check(Rule("schedule-actor", "§3.1; §16 no. 11", kit=("4.3.05", "4.4.06", "4.4.07")), schedules, _AGENDA),
    Check(Rule("role-structure", "§10; §20 no. 23, 33", kit=("4.6.06",)), structures, _AGENDA),
    Check(Rule("role-location", "§3.1; §16 no. 13", kit=("4.3.05", "4.4.08")), places, _AGENDA),
    Check(Rule("location-address", "§11.6; §19 no. 38 to 40", kit=("4.3.06",)), addresses),
    Check(Rule("location-identifier", "§11.6; §10"), place_identifiers),
    Check(Rule("specialty-text", "§20 no. 12", "warning", kit=("4.2.02",)), specialties),
    Check(Rule("phone", "§10; §16 no. 5", kit=("4.6.05",)), phones),
    Check(Rule("identifier-oid", "§16 no. 4"), oids),
)
