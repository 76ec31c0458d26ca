"""Value sets and code systems of SPEC §13: the codes that the SAS can meet.

Systems are `complete` where all their codes are stated here, and `fragment` where only those that the SAS meets are.
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

# The labels of each group in the order of its codes: SCD01, SCD02…
_SPECIALTY_LABELS = {
    "SCD": """
Orthopédie dento-faciale (SCD)
Chirurgie orale (SCD)
Médecine bucco-dentaire (SCD)
""",
    "SI": """
Exercice infirmier en pratique avancée pathologies chroniques stabilisées (SI)
Exercice infirmier en pratique avancée oncologie et hémato-oncologie (SI)
Exercice infirmier en pratique avancée maladie rénale chronique (SI)
Exercice infirmier en pratique avancée santé mentale (SI)
Exercice infirmier en pratique avancée urgences (SI)
Infirmier(ère) de bloc opératoire (SI)
Infirmier(ère) anesthésiste (SI)
Infirmier(ère) puériculteur(trice)
""",
    "SM": """
Anatomie et Cytologie pathologiques (SM)
Anesthésie-réanimation (SM)
Biologie médicale (SM)
Cardiologie et Maladies vasculaires (SM)
Chirurgie générale (SM)
Chirurgie maxillo-faciale (SM)
Chirurgie maxillo-faciale et Stomatologie (SM)
Chirurgie orthopédique et Traumatologie (SM)
Chirurgie infantile (SM)
Chirurgie plastique reconstructrice et esthétique (SM)
Chirurgie thoracique et cardio-vasculaire (SM)
Chirurgie urologique (SM)
Chirurgie vasculaire (SM)
Chirurgie viscérale et digestive (SM)
Dermatologie et Vénéréologie (SM)
Endocrinologie et Métabolisme (SM)
Génétique médicale (SM)
Gériatrie (SM)
Gynécologie médicale (SM)
Gynécologie-obstétrique (SM)
Hématologie (SM)
Hématologie, option Maladie du sang (SM)
Hématologie, option Onco-hématologie (SM)
Gastro-entérologie et Hépatologie (SM)
Médecine du travail (SM)
Qualifié en Médecine générale (SM)
Médecine interne (SM)
Médecine nucléaire (SM)
Médecine physique et de réadaptation (SM)
Néphrologie (SM)
Neuro-chirurgie (SM)
Neurologie (SM)
Neuro-psychiatrie (SM)
ORL et Chirurgie cervico-faciale (SM)
Oncologie, option Onco-hématologie (SM)
Oncologie, option médicale (SM)
Oncologie, option radiothérapie (SM)
Ophtalmologie (SM)
Oto-rhino-laryngologie (SM)
Pédiatrie (SM)
Pneumologie (SM)
Psychiatrie (SM)
Psychiatrie, option enfant et adolescent (SM)
Radio-diagnostic (SM)
Radio-thérapie (SM)
Médecine intensive-réanimation (SM)
Recherche médicale (SM)
Rhumatologie (SM)
Santé publique et Médecine sociale (SM)
Stomatologie (SM)
Gynéco-obstétrique et Gynéco-médicale, option Gynéco-obstétrique (SM)
Gynéco-obstétrique et Gynéco-médicale, option Gynéco-médicale (SM)
Spécialiste en Médecine générale (SM)
Médecine générale (SM)
Radio-diagnostic et Radio-thérapie (SM)
Chirurgie orale (SM)
Allergologie (SM)
Maladies infectieuses et tropicales (SM)
Médecine d'urgence (SM)
Médecine légale et expertises médicales (SM)
Médecine vasculaire (SM)
Endocrinologie, diabétologie, nutrition (SM)
Biologie médicale option biologie générale (SM)
Biologie médicale option médecine moléculaire, génétique et pharmacologie (SM)
Biologie médicale option hématologie et immunologie (SM)
Biologie médicale option agents infectieux (SM)
Biologie médicale option biologie de la reproduction (SM)
Chirurgie maxillo-faciale (réforme 2017) (SM)
Chirurgie pédiatrique option chirurgie viscérale pédiatrique (SM)
Chirurgie pédiatrique option orthopédie pédiatrique (SM)
Hématologie (réforme 2017) (SM)
Médecine interne et immunologie clinique (SM)
Médecine cardiovasculaire (SM)
Radiologie imagerie médicale (SM)
Santé publique (SM)
Anesthésie-réanimation opt anesthésie-pédiatrique (SM)
Chirurgie maxillo-faciale opt orthod dysmo max-fac (SM)
Chirurgie viscérale et digestive opt endo chir (SM)
Méd cardiovasculaire opt card interventionnelle (SM)
Méd cardiovasculaire opt imagerie cardio d'expert (SM)
Méd cardiovasculaire opt rythmo inter stimu card (SM)
Médecine intensive-réanimation opt réa pédiatrique (SM)
Néphrologie option soins intensifs néphrologiques (SM)
Neurologie opt trait interv ischémie céréb aigüe (SM)
Ophtalmologie opt chir ophtalmopéd strabologique (SM)
ORL - chir cervico-faciale opt audiophonologie (SM)
Pédiatrie option néonatologie (SM)
Pédiatrie option neuropédiatrie (SM)
Pédiatrie option pneumopédiatrie (SM)
Pédiatrie option réanimation pédiatrique (SM)
Pneumologie option soins intensifs respiratoires (SM)
Psychiatrie option enfant et adolescent (SM)
Psychiatrie option psychiatrie de la personne âgée (SM)
Radiologie et imagerie médicale opt radio inter av (SM)
Santé publique option administration de la santé (SM)
""",
    "SP": """
Radio-pharmacie (SP)
Hygiène (SP)
Pharmacovigilance (SP)
Hémovigilance (SP)
""",
}
SPECIALTIES = {
    f"{group}{number:02}": label
    for group, labels in _SPECIALTY_LABELS.items()
    for number, label in enumerate(labels.strip().splitlines(), 1)
}

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
        _system(R38, "TRE_R38_SpecialiteOrdinale", "Specialties of the medical register", "complete", SPECIALTIES),
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
