"""Search parameters (SPEC §14) and capability statements (SPEC §15) of the SAS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from differential import Json
from sas_profiles import R5_SERVICE_TYPE, SAS, SASFR, VERSION

SP = "https://interop.esante.gouv.fr/ig/fhir/sas/SearchParameter/"
R4SP = "http://hl7.org/fhir/SearchParameter/"
STATEMENT = "https://interop.esante.gouv.fr/ig/fhir/sas/CapabilityStatement/"
DATE = "2024-10-01"

# name, definition (None for what is built in), type
Param = tuple[str, str | None, str]
START: Param = ("SPDateDebutSlot", SP + "slot-sp-start", "date")
STATUS: Param = ("status", R4SP + "Slot-status", "token")
SLOT_SCHEDULE: Param = ("schedule", R4SP + "Slot-schedule", "reference")
ACTOR: Param = ("SearchSchedule-actor", R4SP + "Schedule-actor", "reference")
PRACTITIONER: Param = ("Practitioner-identifier", R4SP + "Practitioner-identifier", "token")
SOURCE: Param = ("_source", R4SP + "Resource-source", "uri")
ACTIVE: Param = ("active", R4SP + "Practitioner-active", "token")
APPOINTMENT: Param = ("Appointment-identifier", R4SP + "Appointment-identifier", "token")
HAS: Param = ("_has", None, "special")
PLACE: Param = ("organization", R4SP + "Location-organization", "reference")
STRUCTURE: Param = ("identifier", R4SP + "Organization-identifier", "token")

READ = ("read", "search-type")
WRITE = ("create", "update")


def _search_parameters() -> list[Json]:
    common = {"resourceType": "SearchParameter", "version": VERSION, "status": "active", "base": ["Slot"]}
    return [
        {
            **common,
            "id": "slot-sp-start",
            "url": SP + "slot-sp-start",
            "name": "SPDateDebutSlot",
            "description": "Slots by the time at which they start.",
            "code": "start",
            "type": "date",
            "expression": "Slot.start",
            "multipleOr": False,
            "multipleAnd": True,
            "comparator": ["ge", "le"],
        },
        {
            **common,
            "id": "cptsslot-sp-servicetype",
            "url": SP + "cptsslot-sp-servicetype",
            "name": "SPServiceTypeCPTS",
            "description": "Slots by the HealthcareService named in the service type, as in R5; used to include it.",
            "code": "service-type-reference",
            "type": "reference",
            "expression": f"Slot.serviceType.extension.where(url='{R5_SERVICE_TYPE}').value",
            "target": ["HealthcareService"],
        },
    ]


def _resource(
    type: str,
    profile: str,
    interactions: Sequence[str],
    params: Sequence[Param],
    includes: Sequence[str] = (),
    rev_includes: Sequence[str] = (),
    **more: Any,
) -> Json:
    out: Json = {"type": type, "profile": profile, "interaction": [{"code": code} for code in interactions], **more}
    if includes:
        out["searchInclude"] = list(includes)
    if rev_includes:
        out["searchRevInclude"] = list(rev_includes)
    out["searchParam"] = [
        {"name": name, **({"definition": url} if url else {}), "type": kind} for name, url, kind in params
    ]
    return out


def _written(type: str, profile: str, *params: Param) -> Json:
    return _resource(type, profile, WRITE, params, conditionalUpdate=True, updateCreate=True)


def _agenda(slot: str, *more: str) -> list[Json]:
    includes = ("Slot:schedule", "Schedule:actor", *more)
    return [
        _resource("Slot", slot, READ, [START, STATUS, SLOT_SCHEDULE], includes),
        _resource("Schedule", SASFR + "FrScheduleAgregateur", READ, [ACTOR]),
        _resource("Practitioner", SASFR + "FrPractitionerAgregateur", READ, [PRACTITIONER, SOURCE]),
    ]


PS = _agenda(SASFR + "FrSlotAgregateur")
CPTS = _agenda(SAS + "sas-cpts-slot-aggregator", "Slot:service-type-reference", "HealthcareService:organization")
SOS = [
    _resource(
        "Schedule",
        SAS + "sas-sos-schedule-aggregator",
        READ,
        [HAS, ACTOR],
        ("Schedule:actor:Location", "Location:organization"),
        ("Slot:schedule",),
    ),
    _resource("Slot", SAS + "sas-sos-slot-aggregator", READ, [START, STATUS, SLOT_SCHEDULE]),
    _resource("Location", SAS + "sas-sos-location-aggregator", READ, [PLACE]),
    _resource("Organization", SAS + "sas-sos-organization-aggregator", READ, [STRUCTURE]),
]
REGULATORS = [_written("Practitioner", SAS + "FrPractitionerRegul", PRACTITIONER, SOURCE, ACTIVE)]
PS_APPOINTMENTS = [_written("Appointment", SASFR + "FrAppointmentSAS", APPOINTMENT)]
SOS_APPOINTMENTS = [_written("Appointment", SAS + "sas-sos-appointment", APPOINTMENT)]

# id, mode, title, resources
_STATEMENTS: tuple[tuple[str, str, str, list[Json]], ...] = (
    ("SAS-GestionnaireAgenda-PsIndiv", "server", "Agendas of individual practitioners", PS),
    ("SAS-GestionnaireAgenda-CPTS", "server", "Agendas shared with CPTS", CPTS),
    ("SAS-GestionnaireAgenda-SOS", "server", "Agendas of SOS Médecins", SOS),
    ("SAS-GestionnaireStructure", "server", "Regulator accounts", REGULATORS),
    ("SAS-GestionnaireAgenda-RDVpsindiv", "server", "Appointments with practitioners", PS_APPOINTMENTS),
    ("SAS-GestionnaireAgenda-RDVSOS", "server", "Appointments at SOS Médecins places", SOS_APPOINTMENTS),
    ("SAS-Consommateur-psindiv", "client", "Search in agendas of individual practitioners", PS),
    ("SAS-Consommateur-CPTS", "client", "Search in agendas shared with CPTS", CPTS),
    ("SAS-Consommateur-SOS", "client", "Search in agendas of SOS Médecins", SOS),
)


def _statement(id: str, mode: str, title: str, resources: list[Json]) -> Json:
    does = "What a server offers" if mode == "server" else "What a client asks for"
    return {
        "resourceType": "CapabilityStatement",
        "id": id,
        "url": STATEMENT + id,
        "version": VERSION,
        "name": id.replace("-", "_"),
        "title": f"SAS: {title}",
        "status": "draft",
        "date": DATE,
        "description": f"{does} in the SAS: {title[0].lower()}{title[1:]}.",
        "kind": "requirements",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{"mode": mode, "security": {"cors": False}, "resource": resources}],
    }


def resources() -> list[dict[str, Any]]:
    """All SearchParameters and CapabilityStatements of the package."""
    return [*_search_parameters(), *(_statement(*one) for one in _STATEMENTS)]
