"""Value sets and code systems of SPEC §13: the codes that the SAS can meet.

Systems are `complete` where all their codes are stated here, `fragment` where only those that the SAS meets are, and
`not-present` where none is: then a validator cannot decide and lets every code pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from differential import Json
from fr_core import CS, VS, nos
from sas_profiles import SASVS, THO, VERSION

ORIENTATION = "https://interop.esante.gouv.fr/ig/fhir/sas/CodeSystem/categorie-orientation-sas-codesystem"
V2_0203 = CS + "fr-v2-0203"
LOCATION_TYPE = CS + "fr-location-identifier-type"
FR_CORE_2_0203 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
ACT = THO + "CodeSystem/v3-ActCode"
V2_0276 = THO + "CodeSystem/v2-0276"
R314 = nos("TRE_R314-TypeCreneau")
R66 = nos("TRE_R66-CategorieEtablissement")
R38 = nos("TRE_R38-SpecialiteOrdinale")
G15 = nos("TRE_G15-ProfessionSante")
G08 = nos("TRE_G08-TypeIdentifiantPersonne")

LABELS = {
    "PUBLIC": "Open to the general public",
    "PRO": "Open to all health professionals",
    "SNP": "Open to regulators and organisers of unscheduled care",
    "CPTS": "Open to the members of a CPTS",
}
ESTABLISHMENTS = {"604": "CPTS", "603": "MSP", "124": "CDS"}
CONSULTATIONS = {"AMB": "At the surgery", "HH": "At the patient's home", "VR": "By video"}
NATIONAL = (
    *("ADELI", "RPPS", "IDNPS", "NNFRA", "NDP", "INS-C", "INS-NIA", "INS-NIR"),
    *("FINEJ", "FINEG", "SIREN", "SIRET", "IDNST", "INTRN", "EXTRN"),
)
ENCOUNTERS = ("AMB", "EMER", "FLD", "HH", "IMP", "ACUTE", "NONAC", "OBSENC", "PRENC", "SS", "VR")

Codes = dict[str, str] | Iterable[str]


def _concepts(codes: Codes) -> list[Json]:
    if isinstance(codes, dict):
        return [{"code": code, "display": text} for code, text in codes.items()]
    return [{"code": code} for code in codes]


def _named(kind: str, url: str, name: str, title: str, version: str, **more: Any) -> Json:
    return {
        "resourceType": kind,
        "id": url.rpartition("/")[2],
        "url": url,
        "version": version,
        "name": name,
        "title": title,
        "status": "active",
        **more,
    }


def _system(url: str, name: str, title: str, content: str, codes: Codes = (), *, case: bool = True) -> Json:
    concepts = _concepts(codes)
    out = _named("CodeSystem", url, name, title, VERSION, caseSensitive=case, content=content)
    return {**out, "concept": concepts} if concepts else out


def _set(url: str, name: str, title: str, *includes: tuple[str, Codes]) -> Json:
    """A value set of (system, codes); no codes = the whole system."""
    composed = []
    for system, codes in includes:
        concepts = _concepts(codes)
        composed.append({"system": system, "concept": concepts} if concepts else {"system": system})
    return _named("ValueSet", url, name, title, VERSION, compose={"include": composed})


def _pick(*codes: str) -> dict[str, str]:
    return {code: LABELS[code] for code in codes}


def resources() -> list[dict[str, Any]]:
    """All CodeSystems and ValueSets of the package."""
    return [*_systems(), *_sas_sets(), *_french_sets()]


def _systems() -> list[Json]:
    return [
        _system(R314, "TRE_R314_TypeCreneau", "Slot labels", "complete", LABELS, case=False),
        _system(R66, "TRE_R66_CategorieEtablissement", "Categories of structures", "fragment", ESTABLISHMENTS),
        _system(R38, "TRE_R38_SpecialiteOrdinale", "Specialties of the medical register", "not-present"),
        _system(G15, "TRE_G15_ProfessionSante", "Health professions", "fragment", {"10": "Physician"}),
        _system(V2_0203, "FrV20203", "Types of French identifiers", "complete", NATIONAL),
        _system(
            FR_CORE_2_0203, "FRCoreCodeSystemV20203", "Types of identifiers, FR core 2", "fragment", ["IDNST", "IDNPS"]
        ),
        _system(
            LOCATION_TYPE, "FrLocationIdentifierType", "Types of place identifiers", "complete", _PLACE_IDENTIFIERS
        ),
        _system(
            ORIENTATION,
            "CategorieOrientationSASCodeSystem",
            "Orientation categories",
            "complete",
            {"001": "PS", "002": "PDM", "003": "SOS"},
        ),
    ]


_PLACE_IDENTIFIERS = ("INTRN", "EXTRN", "GLBL", "IDNST")


def _sas_sets() -> list[Json]:
    return [
        _set(
            nos("JDV_J165-TypeCreneau-SAS"),
            "JDV_J165_TypeCreneau_SAS",
            "Labels of PS slots",
            (R314, _pick("PUBLIC", "PRO", "SNP", "CPTS")),
        ),
        _set(
            SASVS + "sas-cpts-valueset-typecreneau",
            "TypeCreneauSASCPTS",
            "Labels of CPTS slots",
            (R314, _pick("PUBLIC", "SNP", "PRO", "CPTS")),
        ),
        _set(
            SASVS + "sas-sos-valueset-typecreneau",
            "TypeCreneauSASSOS",
            "Labels of SOS Médecins slots",
            (R314, _pick("PUBLIC", "SNP")),
        ),
        _set(
            SASVS + "sas-valueset-typeconsultation",
            "TypeConsultationSAS",
            "Kinds of consultation",
            (ACT, CONSULTATIONS),
        ),
        _set(
            SASVS + "sas-valueset-categorieetablissement",
            "CategorieEtablissementSAS",
            "Structures that share slots",
            (R66, {"604": "CPTS"}),
        ),
        _set(
            SASVS + "sas-valueset-appointmentreason",
            "AppointmentReasonSAS",
            "With or without appointment",
            (V2_0276, {"ROUTINE": "By appointment", "WALKIN": "Without appointment"}),
        ),
        _set(
            SASVS + "sas-valueset-participant-status",
            "ParticipantStatusSAS",
            "Whether the practitioner has accepted",
            ("http://hl7.org/fhir/participationstatus", ["accepted", "needs-action"]),
        ),
        _set(
            SASVS + "sas-valueset-typeidentifiant",
            "TypeIdentifiantSAS",
            "How a regulator is identified",
            (V2_0203, ["IDNPS", "INTRN"]),
        ),
        _set(
            SASVS + "sas-valueset-appointmentparticipanttype",
            "AppointmentParticipantTypeSAS",
            "A participant who is not known yet",
            (THO + "CodeSystem/v3-ParticipationType", ["ADM"]),
        ),
        _set(
            SASVS + "categorie-orientation-sas-valueset",
            "CategorieOrientationSASValueSet",
            "Orientation categories and structures",
            (ORIENTATION, ()),
            (R66, ESTABLISHMENTS),
        ),
        _set(THO + "ValueSet/v3-ActEncounterCode", "ActEncounterCode", "Kinds of encounter", (ACT, ENCOUNTERS)),
    ]


def _french_sets() -> list[Json]:
    return [
        _set(VS + "fr-practitioner-specialty", "FrPractitionerSpecialty", "Specialties", (R38, ())),
        _set(
            VS + "fr-practioner-identifier-type",
            "FrPractionerIdentifierType",
            "Types of practitioner identifiers",
            (V2_0203, ["ADELI", "RPPS", "IDNPS", "INTRN"]),
            (THO + "CodeSystem/v2-0203", ["EI"]),
            (G08, ["1", "3", "4", "5", "6"]),
        ),
        _set(
            VS + "fr-location-identifier-type",
            "FrLocationIdentifierTypes",
            "Types of place identifiers",
            (LOCATION_TYPE, _PLACE_IDENTIFIERS),
        ),
        _set(
            VS + "fr-organization-identifier-type",
            "FrOrganizationIdentifierType",
            "Types of structure identifiers",
            (V2_0203, ["FINEJ", "FINEG", "SIREN", "SIRET", "IDNST", "INTRN", "EXTRN"]),
        ),
    ]
