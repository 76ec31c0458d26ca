"""Demo data: a small French agenda with fixed ids and slots from today on. Loading it again renews it.

Names, places and identifiers are invented. The RPPS numbers are in a range that is not assigned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fhirstore_sas.names import (
    FR_CORE_V2_0203,
    FR_LOCATION_IDENTIFIER_TYPE,
    FR_V2_0203,
    IDNPS_SYSTEM,
    IDNST_SYSTEM,
    PLATFORM,
    SAS,
    SERVICE_TYPE_R5,
    TRE_R38,
    TRE_R66,
    TRE_R314,
    V2_0276,
    V3_ACT_CODE,
)

Resource = dict[str, Any]

DAYS = 8
"""Today and the seven days after it."""
_PARIS = ZoneInfo("Europe/Paris")
_EDITOR = "https://agenda.example"
_LENGTH = timedelta(minutes=20)
_HOURS = (time(9), time(14), time(16))
_SLOTS_PER_HALF = 4


@dataclass(frozen=True)
class _Person:
    number: int
    family: str
    given: str
    specialty: str
    places: tuple[int, ...]
    cpts: tuple[int, ...] = ()

    @property
    def rpps(self) -> str:
        return f"8999000000{self.number:02d}"


@dataclass(frozen=True)
class _Place:
    line: str
    postal_code: str
    city: str
    structure: str


_PLACES = (
    _Place("12 rue des Tilleuls", "35000", "Rennes", "1359900010"),
    _Place("4 place de la Halle", "35200", "Rennes", "399900000000021"),
    _Place("27 avenue du Général Leclerc", "35700", "Rennes", "499900000000033"),
    _Place("8 quai des Indes", "56100", "Lorient", "1569900047"),
    _Place("15 rue du Port", "56000", "Vannes", "399900000000054"),
    _Place("3 boulevard Clemenceau", "22000", "Saint-Brieuc", "1229900061"),
)
_PEOPLE = (
    _Person(1, "Morvan", "Anne", "SM54", (0,)),
    _Person(2, "Le Goff", "Yves", "SM54", (1, 2)),
    _Person(3, "Carré", "Sophie", "SM26", (3,), cpts=(0,)),
    _Person(4, "Guillou", "Marc", "SM54", (4,), cpts=(0, 1)),
    _Person(5, "Dupré", "Hélène", "SM40", (5,)),
    _Person(6, "Tanguy", "Paul", "SM04", (0, 3)),
    _Person(7, "Rivière", "Inès", "SM54", (1,), cpts=(1,)),
    _Person(8, "Lemoine", "Noël", "SM15", (2,)),
    _Person(9, "Bertin", "Chloé", "SM54", (4,)),
    _Person(10, "Hervé", "Luc", "SM26", (5,)),
)
_CPTS = (("CPTS du Pays de Rance", "1359900101"), ("CPTS des Côtes du Large", "1569900119"))
_SOS = (
    (
        "SOS Médecins Rennes",
        "399900000000112",
        (("Centre Nord", "20 rue de Saint-Malo"), ("Centre Sud", "5 rue de Nantes")),
    ),
    ("SOS Médecins Lorient", "399900000000127", (("Centre du Port", "2 rue de la Cale"),)),
)
_REGULATORS = (
    ("Maude", "Kerjean", PLATFORM, "00000000-0000-4000-8000-000000000001", True),
    ("Alix", "Loriot", IDNPS_SYSTEM, "3359900010/00000001", True),
    ("Rose", "Prigent", PLATFORM, "00000000-0000-4000-8000-000000000002", False),
)


def today() -> date:
    """The current day in Paris."""
    return datetime.now(_PARIS).date()


def resources(day: date) -> Iterator[Resource]:
    """All resources; resources that others refer to come first. Slots are on the eight days from `day`."""
    yield from _cpts()
    yield from _practitioners(day)
    yield from _sos(day)
    yield from _regulators()


def queries(base: str, day: date) -> Iterator[tuple[str, str]]:
    """(title, URL) of sample searches on the three days from `day`."""
    base = base.rstrip("/")
    start, end = (_instant(day + timedelta(days=n), time(0)) for n in (0, 3))
    window = f"&start=ge{quote(start)}&start=le{quote(end)}&status=free"
    agenda = "_include=Slot:schedule&_include:iterate=Schedule:actor"
    shared = "&_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"

    def slots(people: Sequence[_Person], more: str = "") -> str:
        ids = ",".join(f"{IDNPS_SYSTEM}%7C{person.rpps}" for person in people)
        return f"{base}/Slot?{agenda}{more}&schedule.actor:Practitioner.identifier={ids}{window}"

    yield "PS: one practitioner, one place", slots(_PEOPLE[:1])
    yield "PS: one practitioner, two places", slots(_PEOPLE[1:2])
    yield "PS: three practitioners", slots(_PEOPLE[:3])
    yield "CPTS: a practitioner of one CPTS", slots(_PEOPLE[2:3], shared)
    yield "CPTS: a practitioner of two CPTS", slots(_PEOPLE[3:4], shared)
    sirets = ",".join(f"{IDNST_SYSTEM}%7C{siret}" for _, siret, _ in _SOS)
    has = "_has:Slot:schedule:"
    yield (
        "SOS Médecins: two associations",
        f"{base}/Schedule?_revinclude=Slot:schedule&_include=Schedule:actor:Location"
        f"&_include:iterate=Location:organization&{has}start=ge{quote(start)}&{has}start=le{quote(end)}"
        f"&{has}status=free&actor:Location.organization.identifier={sirets}",
    )


def _cpts() -> Iterator[Resource]:
    for n, (name, finess) in enumerate(_CPTS):
        yield {
            "resourceType": "Organization",
            "id": f"demo-cpts-{n + 1}",
            "identifier": [_identifier(IDNST_SYSTEM, finess, FR_CORE_V2_0203, "IDNST")],
            "active": True,
            "name": name,
            "telecom": [_phone(f"29900{n:04d}")],
        }
    for n, (name, _) in enumerate(_CPTS):
        yield {
            "resourceType": "HealthcareService",
            "id": f"demo-cpts-service-{n + 1}",
            "active": True,
            "providedBy": {"reference": f"Organization/demo-cpts-{n + 1}"},
            "name": f"Soins non programmés, {name}",
        }


def _practitioners(day: date) -> Iterator[Resource]:
    for person in _PEOPLE:
        who = f"Practitioner/demo-ps-{person.number}"
        yield {
            "resourceType": "Practitioner",
            "id": f"demo-ps-{person.number}",
            "identifier": [_identifier(IDNPS_SYSTEM, person.rpps, FR_V2_0203, "IDNPS")],
            "active": True,
            "name": [{"family": person.family, "given": [person.given], "prefix": ["DR"]}],
        }
        for n, place in enumerate(person.places):
            key = f"demo-ps-{person.number}-{n + 1}"
            yield _role(key, who, person, _PLACES[place])
            yield {
                "resourceType": "Schedule",
                "id": key,
                "active": True,
                "actor": [{"reference": who}, {"reference": f"PractitionerRole/{key}"}],
            }
            for slot in _agenda(key, day, f"{_EDITOR}/rdv?praticien={person.number}&lieu={n + 1}"):
                yield _shared(slot, person)


def _role(key: str, practitioner: str, person: _Person, place: _Place) -> Resource:
    return {
        "resourceType": "PractitionerRole",
        "id": key,
        "contained": [
            {
                "resourceType": "Location",
                "id": "lieu",
                "identifier": [_identifier(_EDITOR, f"lieu-{key}", FR_LOCATION_IDENTIFIER_TYPE, "INTRN")],
                "status": "active",
                "name": f"Cabinet médical, {place.line}",
                "address": {"line": [place.line], "city": place.city, "postalCode": place.postal_code},
            }
        ],
        "active": True,
        "practitioner": {"reference": practitioner},
        "organization": {"identifier": _identifier(IDNST_SYSTEM, place.structure, FR_V2_0203, "IDNST")},
        "specialty": [_concept(TRE_R38, person.specialty)],
        "location": [{"reference": "#lieu"}],
        "telecom": [_phone(f"299{person.number:02d}{place.postal_code[:2]}00")],
    }


def _shared(slot: Resource, person: _Person) -> Resource:
    """Shares every second slot of a practitioner who works with CPTS with all of them."""
    slot["specialty"] = [_concept(TRE_R38, person.specialty)]
    if person.cpts and int(slot["id"].rpartition("-")[2]) % 2:
        slot["meta"]["security"].append({"system": TRE_R314, "code": "CPTS"})
        for n in person.cpts:
            reference = {"reference": f"HealthcareService/demo-cpts-service-{n + 1}"}
            extension = [{"url": SERVICE_TYPE_R5, "valueReference": reference}]
            slot["serviceType"].append({"extension": extension, **_concept(TRE_R66, "604")})
    return slot


def _sos(day: date) -> Iterator[Resource]:
    for n, (name, siret, places) in enumerate(_SOS):
        organization = f"demo-sos-{n + 1}"
        yield {
            "resourceType": "Organization",
            "id": organization,
            "identifier": [_identifier(IDNST_SYSTEM, siret, FR_LOCATION_IDENTIFIER_TYPE, "IDNST")],
            "active": True,
            "name": name,
        }
        for m, (place, line) in enumerate(places):
            key = f"{organization}-{m + 1}"
            yield {
                "resourceType": "Location",
                "id": key,
                "identifier": [_identifier(_EDITOR, f"lieu-{key}", FR_LOCATION_IDENTIFIER_TYPE, "INTRN")],
                "status": "active",
                "name": f"{name}, {place}",
                "telecom": [_phone(f"29910{n:02d}{m:02d}")],
                "address": {"line": [line], "city": name.rpartition(" ")[2], "postalCode": ("35000", "56100")[n]},
                "managingOrganization": {"reference": f"Organization/{organization}"},
                "hoursOfOperation": [
                    {"daysOfWeek": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "allDay": True},
                ],
            }
            yield {
                "resourceType": "Schedule",
                "id": key,
                "active": True,
                "actor": [{"reference": f"Location/{key}"}],
            }
            for slot in _agenda(key, day, f"{_EDITOR}/sos?lieu={n + 1}-{m + 1}"):
                slot["meta"]["security"] = [{"system": TRE_R314, "code": code} for code in ("PUBLIC", "SNP")]
                yield slot


def _agenda(schedule: str, day: date, page: str) -> Iterator[Resource]:
    """The slots of a schedule; one in five is busy."""
    number = 0
    for n in range(DAYS):
        for opening in _HOURS:
            for m in range(_SLOTS_PER_HALF):
                start = datetime.combine(day + timedelta(days=n), opening, _PARIS) + m * _LENGTH
                number += 1
                yield _slot(schedule, number, start, page)


def _slot(schedule: str, number: int, start: datetime, page: str) -> Resource:
    label = ("PUBLIC", "PUBLIC", "SNP", "PRO")[number % 4]
    place = _concept(V3_ACT_CODE, ("AMB", "AMB", "VR")[number % 3])
    return {
        "resourceType": "Slot",
        "id": f"{schedule}-{number:03d}",
        "meta": {"security": [{"system": TRE_R314, "code": label}]},
        "serviceType": [place, {"text": "Consultation non programmée"}],
        "appointmentType": _concept(V2_0276, "ROUTINE"),
        "schedule": {"reference": f"Schedule/{schedule}"},
        "status": "busy" if number % 5 == 0 else "free",
        "start": start.isoformat(timespec="milliseconds"),
        "end": (start + _LENGTH).isoformat(timespec="milliseconds"),
        "comment": page,
    }


def _regulators() -> Iterator[Resource]:
    """Three accounts: one with an id of the platform, one with a national id, one that is disabled."""
    for n, (given, family, system, value, active) in enumerate(_REGULATORS):
        yield {
            "resourceType": "Practitioner",
            "id": f"demo-regulator-{n + 1}",
            "meta": {"source": PLATFORM, "profile": [SAS + "FrPractitionerRegul"]},
            "identifier": [_identifier(system, value, FR_V2_0203, "INTRN" if system == PLATFORM else "IDNPS")],
            "active": active,
            "name": [{"family": family, "given": [given]}],
            "telecom": [{"system": "email", "value": f"{given}.{family}@regulation.example".lower()}],
        }


def _identifier(system: str, value: str, type_system: str, code: str) -> Resource:
    return {"type": _concept(type_system, code), "system": system, "value": value}


def _concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def _phone(digits: str) -> Resource:
    return {"system": "phone", "value": f"+33{digits}"}


def _instant(day: date, hour: time) -> str:
    return datetime.combine(day, hour, _PARIS).isoformat(timespec="milliseconds")
