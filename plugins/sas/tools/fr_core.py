"""The French core profiles, types and extensions on which the SAS profiles stand (canonicals of FR core 1.1.0).

Only what the SAS profiles inherit is stated (SPEC §11, rows "FR core", §11.19 and §12).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from differential import FR, HL7, Json, el, ext, extension, ref, structure, typ

VERSION = "1.1.0"
VS = "http://interopsante.org/fhir/ValueSet/"
CS = "http://interopsante.org/fhir/CodeSystem/"
NOS = "https://mos.esante.gouv.fr/NOS/"
SPECIALTY = ("required", VS + "fr-practitioner-specialty")
FR_ACTORS = tuple(FR + name for name in ("FrRelatedPerson", "FrHealthcareService"))


def nos(name: str) -> str:
    """The canonical of a French terminology: "TRE_R38-SpecialiteOrdinale" and the like."""
    spelt = {"TRE_R54-DiplomeUniversiteInterUniversitaire": "TRE_R54-DiplomeUniversiteInterUniversitare"}
    return f"{NOS}{name}/FHIR/{spelt.get(name, name).replace('_', '-')}"


CIVILITY = ("extensible", nos("JDV_J78-Civilite-RASS"))
EXERCISE_CIVILITY = ("extensible", nos("JDV_J79-CiviliteExercice-RASS"))
DEGREES = {
    "R36": "TRE_R36-AutreDiplomeObtenu",
    "R47": "TRE_R47-CommissionQualification",
    "R48": "TRE_R48-DiplomeEtatFrancais",
    "R49": "TRE_R49-DiplomeEtudeSpecialisee",
    "R50": "TRE_R50-DESCGroupe1Diplome",
    "R51": "TRE_R51-DESCGroupe2Diplome",
    "R52": "TRE_R52-CapaciteDiplome",
    "R53": "TRE_R53-DiplomePaysEEE",
    "R54": "TRE_R54-DiplomeUniversiteInterUniversitaire",
    "R55": "TRE_R55-CertificatEtudeSpeciale",
    "R56": "TRE_R56-Attestation",
    "R57": "TRE_R57-DiplomeEuropeenEtudeSpecialisee",
    "R58": "TRE_R58-AutreTypeDiplome",
    "R226": "TRE_R226-Dip2iemeCycleNQ",
}


def _telecom(path: str = "telecom") -> Json:
    return el(path, types=typ("ContactPoint", FR + "FrContactPoint"))


def _address(path: str = "address") -> Json:
    return el(path, types=typ("Address", FR + "FrAddress"))


def _duration() -> list[Json]:
    return ext("", "serviceTypeDuration", FR + "FrServiceTypeDuration", "0..*")


def _coded_type(slice: str, value_set: str, system: str) -> list[Json]:
    return [
        el(f"type:{slice}", "0..1", binding=("required", value_set)),
        el(f"type:{slice}.coding", "1..1"),
        el(f"type:{slice}.coding.system", "1..1", fixedUri=system),
    ]


def _degrees() -> list[Json]:
    out = [el("qualification.code.coding", slices=("value", "system", "open"))]
    for key, system in DEGREES.items():
        slice = f"qualification.code.coding:degree{key}"
        out.append(el(slice, binding=("required", nos("JDV_J105-EnsembleDiplome-RASS"))))
        out.append(el(f"{slice}.system", fixedUri=nos(system)))
    return out


def _identified(*more: Json, value_set: str) -> list[Json]:
    return [
        el("identifier.type", "1..1", binding=("extensible", VS + value_set)),
        el("identifier.system", "1..1"),
        el("identifier.value", "1..1"),
        *more,
    ]


SLOT = [
    el("serviceCategory", "0..1"),
    el("specialty", binding=SPECIALTY),
    el("schedule", types=ref(FR + "FrSchedule")),
]
SCHEDULE = [
    *_duration(),
    *ext("", "availabilityTime", FR + "FrScheduleAvailabiltyTime", "0..*"),
    el("serviceCategory", "0..1"),
    el("serviceType", "0..0"),
    el("specialty", binding=SPECIALTY),
    el(
        "actor",
        types=ref(
            HL7 + "Device",
            HL7 + "PractitionerRole",
            *FR_ACTORS,
            *(FR + name for name in ("FrLocation", "FrPatient", "FrPractitioner")),
        ),
    ),
]
PRACTITIONER = [
    *_identified(value_set="fr-practioner-identifier-type"),
    el("name", types=typ("HumanName", FR + "FrHumanName")),
    *ext("name", "assemblyOrder", HL7 + "humanname-assembly-order"),
    el("name.prefix", "0..1", binding=CIVILITY),
    el("name.suffix", binding=EXERCISE_CIVILITY),
    _telecom(),
    *ext("telecom", "emailType", FR + "FrContactPointEmailType"),
    el("telecom.system", "1..1"),
    el("telecom.value", "1..1"),
    _address(),
    *_degrees(),
]
PRACTITIONER_ROLE = [
    *_duration(),
    el("practitioner", types=ref(FR + "FrPractitioner")),
    el("organization", types=ref(FR + "FrOrganization")),
    el("code", binding=("required", VS + "fr-practioner-role-exercice")),
    el("specialty", binding=SPECIALTY),
    el("location", types=ref(FR + "FrLocation")),
    el("healthcareService", types=ref(FR + "FrHealthcareService")),
    _telecom(),
]
LOCATION = [
    *ext("", "usePeriod", FR + "FrLocationUsePeriod"),
    el("identifier", "1..*"),
    *_identified(el("identifier.assigner", types=ref(FR + "FrOrganization")), value_set="fr-location-identifier-type"),
    el("type", "0..1", binding=("extensible", VS + "fr-location-type")),
    _telecom(),
    _address(),
    *ext("address", "inseeCode", FR + "FrAddressInseeCode"),
    el("physicalType", binding=("example", VS + "fr-location-physical-type")),
    el("managingOrganization", types=ref(FR + "FrOrganization")),
    el("partOf", types=ref(FR + "FrLocation")),
    *ext("partOf", "positionRoom", FR + "FrLocationPartOfPositionRoom"),
]
_OPERATOR = "extension:appointmentOperator"
APPOINTMENT = [
    *ext("", "appointmentOperator", FR + "FrAppointmentOperator"),
    el(f"{_OPERATOR}.extension", slices=("value", "url", "open")),
    el(f"{_OPERATOR}.url", fixedUri=FR + "FrAppointmentOperator"),
    el(f"{_OPERATOR}.value[x]", slices=("type", "$this", "closed")),
    el(f"{_OPERATOR}.value[x]:valueReference", "0..1", types=typ("Reference")),
    el("specialty", binding=SPECIALTY),
    el("slot", types=ref(FR + "FrSlot")),
    el(
        "participant.actor",
        types=ref(
            HL7 + "Device",
            HL7 + "PractitionerRole",
            *FR_ACTORS,
            *(FR + name for name in ("FrPractitioner", "FrPatient", "FrLocation")),
        ),
    ),
]
HEALTHCARE_SERVICE = [
    *_duration(),
    el("category", "0..1"),
    el("specialty", binding=SPECIALTY),
    el("location", types=ref(FR + "FrLocation")),
    _telecom(),
    el("coverageArea", types=ref(FR + "FrLocation")),
]
ORGANIZATION = [
    *ext("", "shortName", FR + "FrOrganizationShortName"),
    *ext("", "description", FR + "FrOrganizationDescription"),
    *ext("", "usePeriod", HL7 + "organization-period"),
    *_identified(value_set="fr-organization-identifier-type"),
    el("type", slices=("value", "coding.system", "open")),
    *_coded_type("organizationType", VS + "fr-organization-type", CS + "fr-v2-3307"),
    *_coded_type("secteurActiviteRASS", nos("JDV_J101-SecteurActivite-RASS"), nos("TRE_R02-SecteurActivite")),
    *_coded_type(
        "categorieEtablissementRASS",
        nos("JDV_J129-CategorieEtablissement-RASS"),
        nos("TRE_R66-CategorieEtablissement"),
    ),
    _telecom(),
    _address(),
    el("partOf", types=ref(FR + "FrOrganization")),
    el("partOf.type", binding=("extensible", VS + "fr-organization-type")),
    _telecom("contact.telecom"),
    _address("contact.address"),
]
HUMAN_NAME = [
    *ext("", "assemblyOrder", HL7 + "humanname-assembly-order"),
    el("prefix", "0..1", binding=CIVILITY),
    el("suffix", binding=EXERCISE_CIVILITY),
]
CONTACT_POINT = [
    *ext("", "emailType", FR + "FrContactPointEmailType"),
    el("system", "1..1"),
    el("value", "1..1"),
]
ADDRESS = ext("", "inseeCode", FR + "FrAddressInseeCode")

_PROFILES: tuple[tuple[str, str, str, Sequence[Json]], ...] = (
    ("FrSlot", "Slot", "a bookable period", SLOT),
    ("FrSchedule", "Schedule", "an agenda", SCHEDULE),
    ("FrPractitioner", "Practitioner", "a health professional", PRACTITIONER),
    ("FrPractitionerRoleExercice", "PractitionerRole", "where and how a professional practises", PRACTITIONER_ROLE),
    ("FrLocation", "Location", "a place", LOCATION),
    ("FrAppointment", "Appointment", "an appointment", APPOINTMENT),
    ("FrHealthcareService", "HealthcareService", "a service", HEALTHCARE_SERVICE),
    ("FrOrganization", "Organization", "a structure", ORGANIZATION),
)
_TYPES: tuple[tuple[str, str, str, Sequence[Json]], ...] = (
    ("FrHumanName", "HumanName", "a person's name", HUMAN_NAME),
    ("FrContactPoint", "ContactPoint", "a phone number or an address for messages", CONTACT_POINT),
    ("FrAddress", "Address", "a postal address", ADDRESS),
)


def _complex(**parts: str) -> list[Json]:
    out = [el("extension", slices=("value", "url", "open"))]
    for name, type in parts.items():
        out += [
            el(f"extension:{name}"),
            el(f"extension:{name}.url", fixedUri=name),
            el(f"extension:{name}.value[x]", types=typ(type)),
        ]
    return [*out, el("value[x]", "0..0")]


_OPERATORS = ref(FR + "FrOrganization", FR + "FrPractitioner", FR + "FrPatient", HL7 + "RelatedPerson")
_EXTENSIONS: tuple[tuple[str, str, tuple[str, ...], list[Json]], ...] = (
    ("FrAppointmentOperator", "Who booked the appointment.", ("Appointment",), [el("value[x]", types=_OPERATORS)]),
    (
        "FrServiceTypeDuration",
        "How long a kind of service takes.",
        ("Schedule", "PractitionerRole", "HealthcareService"),
        _complex(serviceType="CodeableConcept", duration="Duration"),
    ),
    (
        "FrScheduleAvailabiltyTime",
        "A period of an agenda; the spelling of the name is the official one.",
        ("Schedule",),
        _complex(identifier="Identifier", type="Coding", start="dateTime", end="dateTime"),
    ),
    ("FrLocationUsePeriod", "When a place is in use.", ("Location",), []),
    ("FrLocationPartOfPositionRoom", "Where in the greater place the room lies.", ("Location.partOf",), []),
    ("FrOrganizationShortName", "The short name of a structure.", ("Organization",), []),
    ("FrOrganizationDescription", "What a structure does.", ("Organization",), []),
    ("FrAddressInseeCode", "The INSEE code of the municipality.", ("Address",), []),
    ("FrContactPointEmailType", "The kind of e-mail address.", ("ContactPoint",), []),
)


def resources() -> list[dict[str, Any]]:
    """All StructureDefinitions of this module."""
    inherited = "States what the SAS profiles inherit from the French core profile of this canonical, nothing more."
    profiles = [
        structure(FR + name, type, HL7 + type, f"French core: {what}", inherited, elements, version=VERSION)
        for name, type, what, elements in _PROFILES
    ]
    types = [
        structure(
            FR + name,
            type,
            HL7 + type,
            f"French core: {what}",
            inherited,
            elements,
            version=VERSION,
            kind="complex-type",
        )
        for name, type, what, elements in _TYPES
    ]
    extensions = [
        extension(FR + name, f"French core extension {name}", what, context, elements, version=VERSION)
        for name, what, context, elements in _EXTENSIONS
    ]
    return profiles + types + extensions
