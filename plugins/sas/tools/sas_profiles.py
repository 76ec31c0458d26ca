"""The profiles and extensions of the SAS guide 1.2.0 (SPEC §11, rows "SAS", and §12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from differential import FR, HL7, Json, el, ext, extension, ref, structure, typ
from fr_core import CS, SPECIALTY, nos

VERSION = "1.2.0"
SASFR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
SASVS = "https://interop.esante.gouv.fr/ig/fhir/sas/ValueSet/"
R4VS = "http://hl7.org/fhir/ValueSet/"
THO = "http://terminology.hl7.org/"
R5_SERVICE_TYPE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
V2_0203 = CS + "fr-v2-0203"
LOCATION_TYPE = CS + "fr-location-identifier-type"
FR_CORE_2_0203 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"

CONSULTATION = ("required", THO + "ValueSet/v3-ActEncounterCode")
REASON = ("required", SASVS + "sas-valueset-appointmentreason")
PARTICIPATION = ("required", SASVS + "sas-valueset-participant-status")
IN_BUNDLE = ("referenced", "bundled")
OPERATORS = ref(FR + "FrOrganization", FR + "FrPractitioner", FR + "FrPatient", HL7 + "RelatedPerson")


def concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _entries(slices: Sequence[tuple[str, str, str, str]], full_url: bool) -> list[Json]:
    """Slices of Bundle.entry: (name, cardinality, resource type, profile)."""
    out = []
    for name, card, type, profile in slices:
        out.append(el(f"entry:{name}", card))
        if full_url:
            out.append(el(f"entry:{name}.fullUrl", "1..1"))
        out.append(el(f"entry:{name}.resource", types=typ(type, profile)))
    return out


def _one_page(*slices: tuple[str, str, str, str]) -> list[Json]:
    """A searchset with total, one link and at least four entries."""
    return [
        el("type", patternCode="searchset"),
        el("total", "1..1"),
        el("link", "1..1"),
        el("entry", "4..*", slices=("profile", "resource", "open")),
        *_entries(slices, full_url=True),
    ]


PS_BUNDLE = [
    el("type", patternCode="searchset"),
    el("entry", slices=("type", "resource", "open")),
    *_entries(
        [
            ("FrSlotAgregateur", "0..*", "Slot", SASFR + "FrSlotAgregateur"),
            ("FrScheduleAgregateur", "0..*", "Schedule", SASFR + "FrScheduleAgregateur"),
            ("FrPractitionerAgregateur", "0..*", "Practitioner", SASFR + "FrPractitionerAgregateur"),
            (
                "FrPractitionerRoleExerciceAgregateur",
                "0..*",
                "PractitionerRole",
                SASFR + "FrPractitionerRoleExerciceAgregateur",
            ),
        ],
        full_url=False,
    ),
]
CPTS_BUNDLE = _one_page(
    ("slotAgregateurCPTS", "1..*", "Slot", SAS + "sas-cpts-slot-aggregator"),
    ("scheduleAgregateurCPTS", "1..*", "Schedule", SASFR + "FrScheduleAgregateur"),
    ("practitionerAgregateur", "1..*", "Practitioner", SASFR + "FrPractitionerAgregateur"),
    ("practitionerRole", "1..*", "PractitionerRole", SASFR + "FrPractitionerRoleExerciceAgregateur"),
    ("healthcareserviceCPTS", "0..*", "HealthcareService", SAS + "sas-cpts-healthcareservice-aggregator"),
    ("organizationAgregateurCPTS", "0..*", "Organization", SAS + "sas-cpts-organization-aggregator"),
)
SOS_BUNDLE = _one_page(
    ("slotAgregateurSOS", "1..*", "Slot", SAS + "sas-sos-slot-aggregator"),
    ("scheduleAgregateurSOS", "1..*", "Schedule", SAS + "sas-sos-schedule-aggregator"),
    ("locationAgregateurSOS", "1..*", "Location", SAS + "sas-sos-location-aggregator"),
    ("organizationAgregateurSOS", "1..*", "Organization", SAS + "sas-sos-organization-aggregator"),
)

PS_SLOT = [
    el("meta.security", binding=("required", nos("JDV_J165-TypeCreneau-SAS"))),
    el("serviceType", slices=("value", "coding.system", "open")),
    el("serviceType:TypeConsultation", "0..*", binding=CONSULTATION),
    el("serviceType:TypeConsultation.coding.system", "1..1", patternUri=THO + "CodeSystem/v3-ActCode"),
    el("specialty", binding=SPECIALTY),
    el("appointmentType", binding=("preferred", THO + "ValueSet/v2-0276")),
    el("schedule", types=ref(SASFR + "FrScheduleAgregateur", aggregation=IN_BUNDLE)),
    el("status", fixedCode="free", binding=("required", R4VS + "slotstatus")),
    el("start"),
    el("end"),
    el("comment"),
]
_R5 = "extension:sas-servicetype-r5"
_CONSULTATION, _CPTS = "serviceType:TypeConsultation", "serviceType:referencecpts"
CPTS_SLOT = [
    el("meta.security", binding=("required", SASVS + "sas-cpts-valueset-typecreneau")),
    el("serviceType", slices=("pattern", "$this", "open")),
    *ext("serviceType", "sas-servicetype-r5", R5_SERVICE_TYPE),
    el(_CONSULTATION, "0..*", binding=CONSULTATION),
    el(f"{_CONSULTATION}.{_R5}", "0..0", types=typ("Extension", R5_SERVICE_TYPE)),
    el(f"{_CONSULTATION}.coding.system", patternUri=THO + "CodeSystem/v3-ActCode"),
    el(_CPTS, "0..*", binding=("required", SASVS + "sas-valueset-categorieetablissement")),
    el(f"{_CPTS}.extension", "1..*"),
    el(f"{_CPTS}.{_R5}", "1..1", types=typ("Extension", R5_SERVICE_TYPE)),
    el(f"{_CPTS}.{_R5}.extension", "0..0"),
    el(f"{_CPTS}.{_R5}.url", fixedUri=R5_SERVICE_TYPE),
    el(f"{_CPTS}.{_R5}.value[x]", types=ref(SAS + "sas-cpts-healthcareservice-aggregator")),
    el("appointmentType.coding", binding=REASON),
    el("schedule", types=ref(SASFR + "FrScheduleAgregateur")),
    el("status", patternCode="free"),
]
SOS_SLOT = [
    el("meta.security", binding=("required", SASVS + "sas-sos-valueset-typecreneau")),
    el("serviceType.coding", binding=("required", SASVS + "sas-valueset-typeconsultation")),
    el("appointmentType.coding", binding=REASON),
    el("schedule", types=ref(SAS + "sas-sos-schedule-aggregator")),
    el("status", patternCode="free"),
]
PS_SCHEDULE = [
    el(
        "actor",
        types=ref(
            HL7 + "Device",
            HL7 + "PractitionerRole",
            *(FR + n for n in ("FrRelatedPerson", "FrHealthcareService", "FrLocation", "FrPatient", "FrPractitioner")),
            aggregation=IN_BUNDLE,
        ),
    ),
]
SOS_SCHEDULE = [el("actor", types=ref(FR + "FrLocation")), el("actor.reference", "1..1")]
PRACTITIONER = [
    el("identifier", "1..*"),
    el("identifier.type", patternCodeableConcept=concept(V2_0203, "IDNPS")),
    el("identifier.type.coding", "0..1"),
    el("identifier.system", patternUri=IDNPS),
]
PRACTITIONER_ROLE = [
    el("contained", "1..*"),
    el("practitioner", types=ref(SASFR + "FrPractitionerAgregateur", aggregation=IN_BUNDLE)),
    el("organization.identifier.type", patternCodeableConcept=concept(V2_0203, "IDNST")),
    el("organization.identifier.system", patternUri=IDNST),
    el("location", "1..1", types=ref(SASFR + "FrLocationAgregateur", aggregation=("contained",))),
]
_ADDRESS = [el("address", "1..1"), el("address.line", "1..1"), el("address.city", "1..1")]
LOCATION = [*_ADDRESS, el("address.postalCode", "1..1")]
SOS_LOCATION = [
    el("identifier.type", patternCodeableConcept=concept(LOCATION_TYPE, "INTRN")),
    el("name", "1..1"),
    *_ADDRESS,
    el("address.postalCode", "1..1", maxLength=5),
    el("managingOrganization", "1..1", types=ref(SAS + "sas-sos-organization-aggregator")),
    el("managingOrganization.reference", "1..1"),
]
HEALTHCARE_SERVICE = [
    el("id", "1..1", mustSupport=True),
    el("providedBy", "1..1", types=ref(SAS + "sas-cpts-organization-aggregator"), mustSupport=True),
]
CPTS_ORGANIZATION = [
    el(
        "identifier",
        "1..1",
        invariant=("FINESS-invariant", "A FINESS is written 1 and nine digits.", "value.matches('^1[0-9]{9}$')"),
    ),
    el("identifier.type", patternCodeableConcept=concept(FR_CORE_2_0203, "IDNST")),
    el("identifier.system", patternUri=IDNST),
    el("name", mustSupport=True),
    el("telecom", mustSupport=True),
]
SOS_ORGANIZATION = [
    el(
        "identifier",
        "1..1",
        invariant=("SIRET-invariant", "A SIRET is written 3 and fourteen digits.", "value.matches('^3[0-9]{14}$')"),
    ),
    el("identifier.type", patternCodeableConcept=concept(LOCATION_TYPE, "IDNST")),
    el("identifier.system", patternUri=IDNST),
]
_NATIONAL, _INTERNAL = "identifier:IdentifiantNatPS", "identifier:IdentifiantInterne"
REGULATOR = [
    el("meta.source", patternUri=PLATFORM),
    el("identifier", "1..*", slices=("value", "system", "open")),
    el(_NATIONAL, "0..1"),
    el(f"{_NATIONAL}.type", patternCodeableConcept=concept(V2_0203, "IDNPS")),
    el(f"{_NATIONAL}.system", patternUri=IDNPS),
    el(_INTERNAL, "0..1"),
    el(f"{_INTERNAL}.type", patternCodeableConcept=concept(V2_0203, "INTRN")),
    el(f"{_INTERNAL}.system", patternUri=PLATFORM),
    el("active", "1..1"),
    el("name.family", "1..1"),
    el("name.given", "1..1"),
    el("telecom.system", patternCode="email"),
]
_OPERATOR = "extension:appointmentOperator"
_BY = f"{_OPERATOR}.value[x]:valueReference"
_BOOKED = [
    el("identifier", "1..1"),
    el("identifier.system", "1..1"),
    el("identifier.value", "1..1"),
    el("start", "1..1"),
    el("end", "1..1"),
    el("created", mustSupport=True),
]
APPOINTMENT = [
    el("extension", "1..*"),
    el(_OPERATOR, "1..1"),
    el(f"{_OPERATOR}.extension", "0..0"),
    el(f"{_OPERATOR}.value[x]", "1..1", types=typ("Reference")),
    el(_BY, "1..1", types=OPERATORS),
    el(f"{_BY}.identifier", "1..1"),
    el(f"{_BY}.identifier.type", "1..1"),
    el(f"{_BY}.identifier.type.coding", "1..1"),
    el(f"{_BY}.identifier.type.coding.system", patternUri=V2_0203),
    el(f"{_BY}.identifier.type.coding.code", "1..1"),
    el(f"{_BY}.identifier.system", "1..1"),
    el(f"{_BY}.identifier.value", "1..1"),
    *_BOOKED,
    el("participant.actor.identifier.type", "1..1"),
    el("participant.actor.identifier.type.coding", "1..1", patternCoding={"system": V2_0203, "code": "IDNPS"}),
    el("participant.actor.identifier.system", "1..1", patternUri=IDNPS),
    el("participant.actor.identifier.value", "1..1"),
    el("participant.status", binding=PARTICIPATION),
]
SOS_APPOINTMENT = [
    el("extension", "1..1"),
    el(_OPERATOR, "1..1"),
    el(f"{_OPERATOR}.extension", "0..0"),
    el(f"{_OPERATOR}.value[x]", types=typ("Reference")),
    el(_BY, types=OPERATORS),
    el(f"{_BY}.identifier.type", "1..1"),
    el(
        f"{_BY}.identifier.type.coding",
        "1..1",
        binding=("required", SASVS + "sas-valueset-typeidentifiant"),
    ),
    el(f"{_BY}.identifier.type.coding.code", "1..1"),
    el(f"{_BY}.identifier.system", "1..1"),
    el(f"{_BY}.identifier.value", "1..1"),
    *_BOOKED,
    el("participant.status", binding=PARTICIPATION),
]

# canonical, name, type, base, title, what it is for, elements
_PROFILES: tuple[tuple[str, str, str, str, str, str, Sequence[Json]], ...] = (
    (SASFR + "BundleAgregateur", "BundleAgregateur", "Bundle", HL7 + "Bundle", "PS answer",
     "Answer to a search for the free slots of individual practitioners.", PS_BUNDLE),
    (SASFR + "FrSlotAgregateur", "FrSlotAgregateur", "Slot", FR + "FrSlot", "PS slot",
     "A free slot of an individual practitioner, as the platform receives it.", PS_SLOT),
    (SASFR + "FrScheduleAgregateur", "FrScheduleAgregateur", "Schedule", FR + "FrSchedule", "PS and CPTS schedule",
     "The agenda of a practitioner at one place; names the practitioner and the role.", PS_SCHEDULE),
    (SASFR + "FrPractitionerAgregateur", "FrPractitionerAgregateur", "Practitioner", FR + "FrPractitioner",
     "PS and CPTS practitioner", "A practitioner known by national identifiers only.", PRACTITIONER),
    (SASFR + "FrPractitionerRoleExerciceAgregateur", "FrPractitionerRoleExerciceAgregateur", "PractitionerRole",
     FR + "FrPractitionerRoleExercice", "PS and CPTS practitioner role",
     "A practitioner at one place, which is contained.", PRACTITIONER_ROLE),
    (SASFR + "FrLocationAgregateur", "FrLocationAgregateur", "Location", FR + "FrLocation", "PS and CPTS place",
     "The place of a practitioner, contained in the role.", LOCATION),
    (SASFR + "FrAppointmentSAS", "FrAppointmentSAS", "Appointment", FR + "FrAppointment", "PS and CPTS appointment",
     "An appointment that a regulator took with a practitioner, as the editor reports it.", APPOINTMENT),
    (SAS + "FrPractitionerRegul", "FrPractitionerRegul", "Practitioner", FR + "FrPractitioner", "Regulator account",
     "A regulator's account, as the platform creates, changes and disables it.", REGULATOR),
    (SAS + "sas-cpts-bundle-aggregator", "BundleAgregateurCPTS", "Bundle", HL7 + "Bundle", "CPTS answer",
     "Answer to a search for slots that practitioners share with a CPTS.", CPTS_BUNDLE),
    (SAS + "sas-cpts-slot-aggregator", "FrSlotAgregateurCPTS", "Slot", FR + "FrSlot", "CPTS slot",
     "A free slot, open to one or more CPTS through service types 604.", CPTS_SLOT),
    (SAS + "sas-cpts-healthcareservice-aggregator", "FrHealthcareServiceAgregateurCPTS", "HealthcareService",
     FR + "FrHealthcareService", "CPTS service", "The service that ties a slot to its CPTS.", HEALTHCARE_SERVICE),
    (SAS + "sas-cpts-organization-aggregator", "FrOrganizationAgregateurCPTS", "Organization", FR + "FrOrganization",
     "CPTS organization", "A CPTS, known by its FINESS.", CPTS_ORGANIZATION),
    (SAS + "sas-sos-bundle-aggregator", "BundleAgregateurSOS", "Bundle", HL7 + "Bundle", "SOS Médecins answer",
     "Answer to a search for the slots of SOS Médecins places.", SOS_BUNDLE),
    (SAS + "sas-sos-slot-aggregator", "FrSlotAgregateurSOS", "Slot", FR + "FrSlot", "SOS Médecins slot",
     "A free slot at a place of SOS Médecins.", SOS_SLOT),
    (SAS + "sas-sos-schedule-aggregator", "FrScheduleAgregateurSOS", "Schedule", FR + "FrSchedule",
     "SOS Médecins schedule", "The agenda of a place of SOS Médecins.", SOS_SCHEDULE),
    (SAS + "sas-sos-location-aggregator", "FrLocationAgregateurSOS", "Location", FR + "FrLocation",
     "SOS Médecins place", "A fixed consultation place of an association.", SOS_LOCATION),
    (SAS + "sas-sos-organization-aggregator", "FrOrganizationAgregateurSOS", "Organization", FR + "FrOrganization",
     "SOS Médecins association", "An association, known by its SIRET.", SOS_ORGANIZATION),
    (SAS + "sas-sos-appointment", "FrAppointmentSASSOS", "Appointment", FR + "FrAppointment",
     "SOS Médecins appointment", "An appointment that a regulator took at a place of SOS Médecins.", SOS_APPOINTMENT),
)  # fmt: skip


def made(version: str, elements: Mapping[str, Sequence[Json]]) -> list[dict[str, Any]]:
    """Profiles by canonical, with these elements, as StructureDefinitions of a version."""
    return [
        structure(url, type, base, f"SAS: {title}", description, elements[url], name=name, version=version)
        for url, name, type, base, title, description, _ in _PROFILES
        if url in elements
    ]


def resources() -> list[dict[str, Any]]:
    """All StructureDefinitions of this module."""
    return [
        *made(VERSION, {url: elements for url, *_, elements in _PROFILES}),
        extension(
            R5_SERVICE_TYPE,
            "SAS: service type as in R5",
            "The HealthcareService of a CPTS to which a slot is open; stands in for Slot.serviceType of R5.",
            ["Slot.serviceType"],
            [
                el("extension", "0..0"),
                el("value[x]", types=ref(HL7 + "HealthcareService")),
            ],
            version=VERSION,
            id="sas-cpts-slot-servicetype-aggregator",
            name="SASServiceTypeR5",
        ),
        extension(
            SAS + "sas-categorie-orientation",
            "SAS: orientation category",
            "Towards which kind of care the patient was oriented.",
            ["Appointment"],
            [
                el("extension", "0..0"),
                el(
                    "value[x]",
                    types=typ("CodeableConcept"),
                    binding=("required", SASVS + "categorie-orientation-sas-valueset"),
                ),
            ],
            version=VERSION,
            name="CategorieOrientation",
        ),
    ]
