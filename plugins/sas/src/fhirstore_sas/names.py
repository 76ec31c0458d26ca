"""Canonicals, code systems and identifier systems of the SAS implementation guide (ans.fhir.fr.sas 1.2.0)."""

from __future__ import annotations

SAS_FR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
FR_CORE = "http://interopsante.org/fhir/StructureDefinition/"
PROFILE_BASES = (SAS_FR, SAS, FR_CORE)
"""The guide uses all of these base URLs for the same profiles (SPEC §20, no. 1)."""

IDNPS_SYSTEM = "urn:oid:1.2.250.1.71.4.2.1"
IDNST_SYSTEM = "urn:oid:1.2.250.1.71.4.2.2"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
"""The SAS platform: `meta.source` of regulator accounts, and the system of their technical ids."""

FR_V2_0203 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
FR_CORE_V2_0203 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
FR_LOCATION_IDENTIFIER_TYPE = "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type"

NOS = "https://mos.esante.gouv.fr/NOS/"
TRE_R314 = NOS + "TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
TRE_R38 = NOS + "TRE_R38-SpecialiteOrdinale/FHIR/TRE-R38-SpecialiteOrdinale"
TRE_R66 = NOS + "TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
V3_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
V2_0276 = "http://terminology.hl7.org/CodeSystem/v2-0276"

SERVICE_TYPE_R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
OPERATOR = FR_CORE + "FrAppointmentOperator"

PROFILES = (
    SAS_FR + "BundleAgregateur",
    SAS_FR + "FrSlotAgregateur",
    SAS_FR + "FrScheduleAgregateur",
    SAS_FR + "FrPractitionerAgregateur",
    SAS_FR + "FrPractitionerRoleExerciceAgregateur",
    SAS_FR + "FrLocationAgregateur",
    SAS_FR + "FrAppointmentSAS",
    SAS + "FrPractitionerRegul",
    SAS + "sas-cpts-bundle-aggregator",
    SAS + "sas-cpts-slot-aggregator",
    SAS + "sas-cpts-healthcareservice-aggregator",
    SAS + "sas-cpts-organization-aggregator",
    SAS + "sas-sos-bundle-aggregator",
    SAS + "sas-sos-slot-aggregator",
    SAS + "sas-sos-schedule-aggregator",
    SAS + "sas-sos-location-aggregator",
    SAS + "sas-sos-organization-aggregator",
    SAS + "sas-sos-appointment",
)
"""The profiles of the guide (SPEC §11), of responses and of messages."""

REGULATOR_PROFILE = "FrPractitionerRegul"
APPOINTMENT_PROFILES = frozenset(("FrAppointmentSAS", "sas-sos-appointment"))
