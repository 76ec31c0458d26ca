"""A small French agenda: practitioners with RPPS, roles, schedules and slots; and the requests that are measured."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

RPPS = "urn:oid:1.2.250.1.71.4.2.1"
TYPES = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
OPERATOR = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
STRUCTURE = {
    "type": {"coding": [{"system": TYPES, "code": "IDNST"}]},
    "system": "urn:oid:1.2.250.1.71.4.2.2",
}
NOS = "https://mos.esante.gouv.fr/NOS"
R38, R314 = "TRE-R38-SpecialiteOrdinale", "TRE-R314-TypeCreneau"
FIRST_DAY = datetime(2031, 3, 3, tzinfo=UTC)
PRACTITIONERS, PLACES, DAYS, SLOTS = 60, 2, 3, 10
"""Places of each practitioner: a role and a schedule each; slots of each schedule and day."""


def _rpps(number: int) -> dict[str, Any]:
    return {"type": {"coding": [{"system": TYPES, "code": "IDNPS"}]}, "system": RPPS, "value": f"8{number:011d}"}


def resources(seed: int = 1, slots: int = SLOTS) -> Iterator[dict[str, Any]]:
    """Referenced ones first, all with ids. slots: of each schedule and day."""
    rng = random.Random(seed)
    for p in range(PRACTITIONERS):
        name = [{"family": f"Famille{p}", "given": [rng.choice(("Anne", "Jean", "Zoé", "Ali"))]}]
        yield {"resourceType": "Practitioner", "id": f"p{p}", "identifier": [_rpps(p)], "name": name}
        for place in range(PLACES):
            yield from _place(rng, p, f"{p}-{place}", slots)


def _place(rng: random.Random, p: int, key: str, slots: int) -> Iterator[dict[str, Any]]:
    location = {
        "resourceType": "Location",
        "id": "loc",
        "status": "active",
        "name": f"Cabinet {key}",
        "identifier": [{"system": "https://agenda.example.org", "value": f"cab{key}"}],
        "address": {"line": [f"{p} rue de la Paix"], "city": "Rennes", "postalCode": "35000"},
    }
    yield {
        "resourceType": "PractitionerRole",
        "id": f"r{key}",
        "active": True,
        "contained": [location],
        "practitioner": {"reference": f"Practitioner/p{p}"},
        "organization": {"identifier": {**STRUCTURE, "value": f"1{p:09d}"}},
        "specialty": [{"coding": [{"system": f"{NOS}/TRE_R38-SpecialiteOrdinale/FHIR/{R38}", "code": "SM54"}]}],
        "location": [{"reference": "#loc"}],
        "telecom": [{"system": "phone", "value": f"+332{p:08d}"}],
    }
    actors = [{"reference": f"Practitioner/p{p}"}, {"reference": f"PractitionerRole/r{key}"}]
    yield {"resourceType": "Schedule", "id": f"s{key}", "active": True, "actor": actors}
    for day in range(DAYS):
        for number in range(slots):
            yield _slot(rng.choice(("free", "free", "busy")), p, key, day, number)


def _slot(status: str, p: int, key: str, day: int, number: int) -> dict[str, Any]:
    start = FIRST_DAY + timedelta(days=day, hours=8, minutes=20 * number)
    return {
        "resourceType": "Slot",
        "id": f"s{key}-{day}-{number}",
        "meta": {"security": [{"system": f"{NOS}/TRE_R314-TypeCreneau/FHIR/{R314}", "code": "PUBLIC"}]},
        "serviceType": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}]},
            {"text": "Suivi, renouvellement d'ordonnance"},
        ],
        "specialty": [{"coding": [{"system": f"{NOS}/TRE_R38-SpecialiteOrdinale/FHIR/{R38}", "code": "SM54"}]}],
        "appointmentType": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "ROUTINE"}]},
        "schedule": {"reference": f"Schedule/s{key}"},
        "status": status,
        "start": start.isoformat(timespec="milliseconds"),
        "end": (start + timedelta(minutes=20)).isoformat(timespec="milliseconds"),
        "comment": f"https://agenda.example.org/booking?practitioner={p}&place={key}&slot={day}-{number}",
    }


def reads(seed: int = 2, many: int = 400) -> list[str]:
    """URLs of W3: read by id."""
    return [f"/fhir/{r['resourceType']}/{r['id']}" for r in random.Random(seed).sample(list(resources()), many)]


def searches(seed: int = 3, many: int = 100, ids: int = 25, days: int = 1) -> list[str]:
    """URLs of W4: the SAS search for free slots of some practitioners within 24 hours, or more days from the first."""
    rng = random.Random(seed)
    urls = []
    for _ in range(many):
        day, hour = rng.randrange(DAYS), rng.randrange(6, 10)
        begin = FIRST_DAY + (timedelta(days=day, hours=hour) if days == 1 else timedelta())
        who = ",".join(f"{RPPS}%7C8{p:011d}" for p in rng.sample(range(PRACTITIONERS), ids))
        low, high = (quote(t.isoformat(), safe=":-") for t in (begin, begin + timedelta(days=days)))
        urls.append(
            "/fhir/Slot?_include=Slot:schedule&_include:iterate=Schedule:actor"
            f"&start=ge{low}&start=le{high}&schedule.actor:Practitioner.identifier={who}&status=free&_count=1000"
        )
    return urls


def appointment(number: int) -> bytes:
    """The body of W2: an appointment as the SAS sends it."""
    resource = {
        "resourceType": "Appointment",
        "extension": [{"url": OPERATOR, "valueReference": {"identifier": _rpps(number)}}],
        "identifier": [{"system": "urn:oid:1.2.250.1.213.3.6", "value": f"bench-{number}"}],
        "status": "booked",
        "start": "2031-03-03T09:00:00+01:00",
        "end": "2031-03-03T09:20:00+01:00",
        "created": "2031-03-01T08:00:00+01:00",
        "participant": [{"actor": {"identifier": _rpps(number % PRACTITIONERS)}, "status": "accepted"}],
    }
    return json.dumps(resource).encode()
