"""The searches of the official SAS test kit, and an agenda to run them on.

PS: a practitioner with one place, one with two, two more. CPTS: one whose slots are open to one CPTS; one with two
places, whose slots are open to one of two CPTS, or to both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from support.process import Process

Json = dict[str, Any]
PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 12, 7, 8, tzinfo=PARIS)

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
CORE_V2 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
PLACE_TYPE = "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type"
NOS = "https://mos.esante.gouv.fr/NOS/"
R314 = NOS + "TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
R66 = NOS + "TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
R38 = NOS + "TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
SASFR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"


@dataclass(frozen=True)
class Option:
    """A way to launch the kit. rpps: of its four inputs, 3 and 4 the same in both. slot and bundle: profiles."""

    name: str
    rpps: tuple[str, str, str, str]
    slot: str
    bundle: str
    labels: frozenset[str]


PS = Option(
    "PS",
    ("899911110001", "899911110002", "899911110003", "899911110004"),
    SASFR + "FrSlotAgregateur",
    SASFR + "BundleAgregateur",
    frozenset(("PUBLIC", "PRO", "SNP")),
)
CPTS = Option(
    "CPTS",
    ("899922220001", "899922220002", "899911110003", "899911110004"),
    SAS + "sas-cpts-slot-aggregator",
    SAS + "sas-cpts-bundle-aggregator",
    frozenset(("PUBLIC", "PRO", "SNP", "CPTS")),
)
PROFILES = {
    "Schedule": SASFR + "FrScheduleAgregateur",
    "Practitioner": SASFR + "FrPractitionerAgregateur",
    "PractitionerRole": SASFR + "FrPractitionerRoleExerciceAgregateur",
    "HealthcareService": SAS + "sas-cpts-healthcareservice-aggregator",
    "Organization": SAS + "sas-cpts-organization-aggregator",
}
ACCEPT = {"Content-Type": "application/json", "Accept": "application/json+fhir"}


@dataclass(frozen=True)
class Found:
    """The response to a setup of the kit. asked: the parameters sent. until: the end of the window."""

    option: Option
    asked: list[tuple[str, str]]
    url: str
    until: datetime
    status: int
    headers: dict[str, str]
    bundle: Json

    def all(self, type: str) -> list[Json]:
        """The resources that declare the profile of this type, and no other, as the kit finds them."""
        profile = self.option.slot if type == "Slot" else PROFILES[type]
        resources = (entry["resource"] for entry in self.bundle.get("entry", ()))
        return [r for r in resources if r.get("meta", {}).get("profile") == [profile]]

    def one(self, type: str) -> Json:
        (found,) = self.all(type)
        return found


def setup(server: Process, option: Option, *numbers: int, form: Option | None = None) -> Found:
    """The search of a setup for the practitioners of these numbers. form: the option whose form the request has."""
    form = form or option
    start, end = NOW, datetime.combine(NOW.date() + timedelta(days=2), time(23, 59, 59), PARIS)
    # Paris local time labelled UTC in PS, without offset in CPTS: so the kit writes it.
    mark = "+00:00" if form is PS else ""
    bounds = [f"{c}{t:%Y-%m-%dT%H:%M:%S}.000{mark}" for c, t in (("ge", start), ("le", end))]
    ids = ",".join(f"{IDNPS}|{option.rpps[n - 1]}" for n in numbers)
    asked = [("_include", "Slot:schedule"), ("_include:iterate", "Schedule:actor")]
    if form is CPTS:
        asked += [("_include", "Slot:service-type-reference"), ("_include:iterate", "HealthcareService:organization")]
    asked.append(("schedule.actor:Practitioner.identifier", ids))
    asked += [*(("start", bound) for bound in bounds), ("status", "free")]
    path = "Slot?" + urlencode(asked)
    status, headers, bundle = server.call("GET", path, headers=ACCEPT)
    return Found(option, asked, f"http://127.0.0.1:{server.port}/fhir/{path}", end, status, headers, bundle)


def agenda() -> Iterator[Json]:
    """All resources, in an order in which references point to earlier ones."""
    for n in (1, 2):
        yield _cpts(n)
        yield {"resourceType": "HealthcareService", "id": f"h{n}", "providedBy": {"reference": f"Organization/o{n}"}}
    kinds = [("PUBLIC",), ("PRO",), ("SNP",), ("PUBLIC", "PRO")]
    for key, rpps in zip(("p1", "p2", "p3", "p4"), PS.rpps, strict=True):
        yield from _person(key, rpps, places=2 if key == "p2" else 1, slots=[(labels, ()) for labels in kinds])
    yield from _person("c1", CPTS.rpps[0], 1, [*((labels, ()) for labels in kinds), (("PUBLIC", "CPTS"), (1,))])
    yield from _person("c2", CPTS.rpps[1], 2, [(("CPTS",), (1,)), (("CPTS",), (2,)), (("CPTS",), (1, 2))])


def _cpts(n: int) -> Json:
    # As an editor has it, of the older guide; the answer has both codings.
    return {
        "resourceType": "Organization",
        "id": f"o{n}",
        "identifier": [identifier(IDNST, f"135999001{n}", PLACE_TYPE, "IDNST")],
        "name": f"CPTS {n}",
        "telecom": [{"system": "phone", "value": f"+3329900000{n}"}],
    }


Slots = Sequence[tuple[tuple[str, ...], tuple[int, ...]]]
"""Labels and CPTS of each slot."""


def _person(key: str, rpps: str, places: int, slots: Slots) -> Iterator[Json]:
    who = f"Practitioner/{key}"
    yield {
        "resourceType": "Practitioner",
        "id": key,
        "identifier": [
            {"system": "https://editor.example/people", "value": key},
            identifier(IDNPS, rpps, V2, "IDNPS"),
        ],
        "name": [{"family": f"Famille {key}", "given": ["Anne"]}],
    }
    for place in range(1, places + 1):
        id = f"{key}-{place}"
        yield _role(id, who)
        role = {"reference": f"PractitionerRole/{id}"}
        yield {"resourceType": "Schedule", "id": id, "actor": [{"reference": who}, role]}
        for n, (labels, cpts) in enumerate(slots):
            yield _slot(f"{id}-{n}", id, NOW + timedelta(hours=2 + n), labels, cpts, ("AMB", "VR", "HH")[n % 3])
        yield _slot(f"{id}-past", id, NOW - timedelta(days=1), slots[0][0], slots[0][1], "AMB")
        yield {**_slot(f"{id}-busy", id, NOW + timedelta(hours=9), *slots[0], "AMB"), "status": "busy"}
        yield _slot(f"{id}-late", id, NOW + timedelta(days=4), slots[0][0], slots[0][1], "AMB")


def _role(id: str, practitioner: str) -> Json:
    place = {
        "resourceType": "Location",
        "id": "lieu",
        "identifier": [identifier("https://editor.example/places", id, PLACE_TYPE, "INTRN")],
        "address": {"line": ["1 rue du Lac"], "city": "Rennes", "postalCode": "35000"},
    }
    return {
        "resourceType": "PractitionerRole",
        "id": id,
        "contained": [place],
        "practitioner": {"reference": practitioner},
        "organization": {"identifier": identifier(IDNST, "1359900010", V2, "IDNST")},
        "specialty": [{"coding": [{"system": R38, "code": "SM54"}]}],
        "location": [{"reference": "#lieu"}],
        "telecom": [{"system": "phone", "value": "+33299000000"}],
    }


def _slot(id: str, schedule: str, start: datetime, labels: Sequence[str], cpts: Sequence[int], kind: str) -> Json:
    services: list[Json] = [{"coding": [{"system": ACT, "code": kind}]}, {"text": "Douleur"}]
    for n in cpts:
        extension = {"url": R5, "valueReference": {"reference": f"HealthcareService/h{n}"}}
        services.append({"extension": [extension], "coding": [{"system": R66, "code": "604"}]})
    return {
        "resourceType": "Slot",
        "id": id,
        "meta": {"security": [{"system": R314, "code": label} for label in labels]},
        "serviceType": services,
        "appointmentType": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0276", "code": "ROUTINE"}]},
        "schedule": {"reference": f"Schedule/{schedule}"},
        "status": "free",
        "start": start.isoformat(timespec="milliseconds"),
        "end": (start + timedelta(minutes=20)).isoformat(timespec="milliseconds"),
        "comment": f"https://editor.example/rdv?agenda={schedule}",
    }


def identifier(system: str, value: str, type_system: str, code: str) -> Json:
    return {"type": {"coding": [{"system": type_system, "code": code}]}, "system": system, "value": value}
