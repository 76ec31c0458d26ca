"""The rules of prose on writes and for `$validate`: where they bind, and what each of them finds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.http.app import make_app

SASFR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
OLD = "http://interopsante.org/fhir/StructureDefinition/"
IDNPS, IDNST = "urn:oid:1.2.250.1.71.4.2.1", "urn:oid:1.2.250.1.71.4.2.2"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
PLACE_TYPE = "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type"
R314 = "https://mos.esante.gouv.fr/NOS/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
R66 = "https://mos.esante.gouv.fr/NOS/TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
ACT, V2_0276 = "http://terminology.hl7.org/CodeSystem/v3-ActCode", "http://terminology.hl7.org/CodeSystem/v2-0276"
RULES = "urn:fhirstore:rule"

Json = dict[str, Any]


def concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def slot(profile: str, **more: Any) -> Json:
    body = {
        "resourceType": "Slot",
        "meta": {"profile": [profile], "security": [{"system": R314, "code": "PUBLIC"}]},
        "serviceType": [concept(ACT, "AMB")],
        "appointmentType": concept(V2_0276, "ROUTINE"),
        "schedule": {"reference": "Schedule/s"},
        "status": "free",
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "comment": "https://agenda.example/rdv?lieu=1",
    }
    return {k: v for k, v in (body | more).items() if v is not None}


PS_SLOT, CPTS_SLOT, SOS_SLOT = (
    SASFR + "FrSlotAgregateur",
    SAS + "sas-cpts-slot-aggregator",
    SAS + "sas-sos-slot-aggregator",
)
FOR_CPTS = {"extension": [{"url": R5, "valueReference": {"reference": "HealthcareService/h"}}], **concept(R66, "604")}
SCHEDULE: Json = {
    "resourceType": "Schedule",
    "meta": {"profile": [SASFR + "FrScheduleAgregateur"]},
    "actor": [{"reference": "Practitioner/p"}, {"reference": "PractitionerRole/r"}],
}
PRACTITIONER: Json = {
    "resourceType": "Practitioner",
    "meta": {"profile": [SASFR + "FrPractitionerAgregateur"]},
    "identifier": [{"type": concept(V2, "IDNPS"), "system": IDNPS, "value": "810002673899"}],
    "name": [{"family": "Morvan", "given": ["Anne"]}],
}
PLACE: Json = {
    "resourceType": "Location",
    "id": "l",
    "identifier": [{"type": concept(PLACE_TYPE, "INTRN"), "system": "https://agenda.example/lieux", "value": "1"}],
    "address": {"line": ["1 rue du Lac"], "city": "Rennes", "postalCode": "35000"},
}
ROLE: Json = {
    "resourceType": "PractitionerRole",
    "meta": {"profile": [SASFR + "FrPractitionerRoleExerciceAgregateur"]},
    "contained": [PLACE],
    "practitioner": {"reference": "Practitioner/p"},
    "organization": {"identifier": {"type": concept(V2, "IDNST"), "system": IDNST, "value": "1359900010"}},
    "location": [{"reference": "#l"}],
}
SOS_BUNDLE, CPTS_BUNDLE = SAS + "sas-sos-bundle-aggregator", SAS + "sas-cpts-bundle-aggregator"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for all: no test looks at what another one stored."""
    made = Template.make(plugins=("sas",)).fresh(tmp_path_factory.mktemp("business") / "business.db")
    yield made
    made.ctx.store.close()


def changed(resource: Json, path: str, value: Any) -> Json:
    """A copy with one member set ("organization.identifier.value"); None takes it away."""
    found = copy.deepcopy(resource)
    *way, last = path.split(".")
    at: Any = found
    for name in way:
        at = at[int(name)] if name.isdigit() else at[name]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return found


def told(api: Api, resource: Json, severity: str = "error", query: str = "") -> set[str]:
    """The rules that `$validate` finds broken; what is no rule of business by its text."""
    issues = api.post(f"{resource['resourceType']}/$validate{query}", resource).get_json()["issue"]
    return {
        i["details"]["coding"][0]["code"] if i["code"] == "business-rule" else i["diagnostics"]
        for i in issues
        if i["severity"] == severity
    }


@pytest.mark.parametrize("profile", [PS_SLOT, SOS_SLOT], ids=["PS", "SOS"])
@pytest.mark.parametrize(
    ("more", "rules"),
    [
        ({}, set()),
        ({"comment": None, "appointmentType": concept(V2_0276, "WALKIN")}, set()),
        ({"comment": None}, {"slot-comment"}),
        ({"comment": None, "appointmentType": None}, {"slot-comment"}),
        ({"comment": "0299010203", "appointmentType": concept(V2_0276, "WALKIN")}, {"slot-comment"}),
        ({"comment": "ftp://agenda.example/?a"}, {"slot-comment"}),
        ({"end": "2026-12-07T09:00:00.000+01:00"}, {"slot-order"}),
        ({"end": "2026-12-07T09:10:00.000+02:00"}, {"slot-order"}),
        ({"start": "2026-12-07T09:00:00+01:00"}, {"slot-instant"}),
        ({"end": "2026-12-07T10:00:00.000Z"}, {"slot-instant"}),
    ],
    ids=["sound", "walk-in", "no page", "no kind", "no address", "ftp", "empty", "offsets", "no millis", "Z"],
)
def test_slots(api: Api, profile: str, more: Json, rules: set[str]) -> None:
    assert told(api, slot(profile, **more)) == rules


def test_only_two_kinds_of_appointment_are_handled(api: Api) -> None:
    both = {"coding": [*concept(V2_0276, "ROUTINE")["coding"], *concept(V2_0276, "CHECKUP")["coding"]]}
    for wrong in (concept(V2_0276, "CHECKUP"), concept("http://other", "ROUTINE"), both):
        assert told(api, slot(PS_SLOT, appointmentType=wrong)) == {"slot-appointment"}
    assert told(api, slot(PS_SLOT, appointmentType={"text": "on the phone"})) == set()


def test_label_and_service_types_of_cpts_go_together(api: Api) -> None:
    labelled = {"profile": [CPTS_SLOT], "security": [{"system": R314, "code": "CPTS"}]}
    both = [concept(ACT, "AMB"), FOR_CPTS]
    assert told(api, slot(CPTS_SLOT)) == set()
    assert told(api, slot(CPTS_SLOT, meta=labelled, serviceType=both)) == set()
    assert told(api, slot(CPTS_SLOT, meta=labelled)) == {"slot-cpts"}
    assert told(api, slot(CPTS_SLOT, serviceType=both)) == {"slot-cpts"}


def test_what_is_missing_and_may_be_is_a_warning(api: Api) -> None:
    bare = slot(PS_SLOT, serviceType=None, appointmentType=None, meta={"profile": [PS_SLOT]})
    assert told(api, bare, "warning") >= {"slot-consultation", "slot-appointment", "slot-label"}
    assert told(api, bare) == set()


@pytest.mark.parametrize(
    ("resource", "rules"),
    [
        (SCHEDULE, set()),
        (changed(SCHEDULE, "actor", SCHEDULE["actor"][:1]), {"schedule-actor"}),
        (changed(SCHEDULE, "actor", SCHEDULE["actor"][1:]), {"schedule-actor"}),
        (changed(SCHEDULE, "actor", [*SCHEDULE["actor"], {"reference": "Practitioner/q"}]), {"schedule-actor"}),
        (PRACTITIONER, set()),
        (changed(PRACTITIONER, "identifier.0.value", "10002673899"), {"practitioner-identifier"}),
        (changed(PRACTITIONER, "identifier.0.value", "0359900010"), set()),
        (changed(PRACTITIONER, "telecom", [{"system": "phone", "value": "02 99 01 02 03"}]), {"phone"}),
        (changed(PRACTITIONER, "telecom", [{"system": "phone", "value": "+262262201234"}]), set()),
        (changed(PRACTITIONER, "telecom", [{"system": "email", "value": "a@agenda.example"}]), set()),
        (ROLE, set()),
        (changed(ROLE, "organization.identifier.value", "359900010"), {"role-structure"}),
        (changed(ROLE, "organization.identifier.value", "12A9900010"), set()),
        (changed(ROLE, "organization.identifier", {"value": "412345678912345"}), set()),
        (changed(ROLE, "organization", None), set()),
        (changed(ROLE, "contained.0.address.postalCode", "F-35000"), {"location-address"}),
        (changed(ROLE, "contained.0.telecom", [{"system": "phone", "value": "0299010203"}]), {"phone"}),
    ],
    ids=[
        "schedule", "without role", "without practitioner", "two practitioners", "practitioner", "bare RPPS", "ADELI",
        "national phone", "overseas", "mail", "role", "bare FINESS", "Corsica", "value alone", "no structure",
        "postal code", "phone of the place",
    ],
)  # fmt: skip
def test_agendas_and_people(api: Api, resource: Json, rules: set[str]) -> None:
    assert told(api, resource) == rules


def test_no_rule_binds_what_claims_nothing(api: Api) -> None:
    odd = slot(PS_SLOT, comment="call us", end="2026-12-07T08:00:00.000+01:00", meta={"tag": [{"code": "x"}]})
    assert told(api, odd) == set()
    assert api.post("Slot", odd).status_code == 201


@pytest.mark.parametrize("base", [SASFR, SAS, OLD])
def test_rules_bind_where_the_profile_is_claimed_on_any_base_or_asked_for(api: Api, base: str) -> None:
    claiming = slot(base + "FrSlotAgregateur", comment="call us")
    assert told(api, claiming) == {"slot-comment"}
    assert told(api, slot(PS_SLOT, comment="call us", meta={"tag": [{"code": "x"}]}), query=f"?profile={PS_SLOT}") == {
        "slot-comment"
    }
    refused = api.post("Slot", claiming)
    assert refused.status_code == 422
    (issue,) = [i for i in refused.get_json()["issue"] if i["severity"] == "error"]
    assert issue["details"]["coding"] == [{"system": RULES, "code": "slot-comment"}]
    assert issue["expression"] == ["Slot.comment"]
    assert '"call us"' in issue["diagnostics"]


def bundle(profile: str, **more: Any) -> Json:
    link = [{"relation": "self", "url": "https://agenda.example/fhir/Slot?status=free"}]
    found = {"resourceType": "Bundle", "meta": {"profile": [profile]}, "type": "searchset", "total": 0, "link": link}
    return {k: v for k, v in (found | more).items() if v is not None}


@pytest.mark.parametrize("profile", [CPTS_BUNDLE, SOS_BUNDLE, SASFR + "BundleAgregateur"], ids=["CPTS", "SOS", "PS"])
def test_an_empty_answer_is_right_and_a_faulty_one_is_not(api: Api, profile: str) -> None:
    assert told(api, bundle(profile)) == set()
    assert told(api, bundle(profile), query=f"?profile={profile}") == set()
    assert api.post("Bundle", bundle(profile)).status_code == 201
    assert told(api, bundle(profile, type="collection", total=None)) >= {"bundle-type", "bundle-total"}


def test_an_empty_answer_has_one_link(api: Api) -> None:
    two = [{"relation": r, "url": "https://agenda.example/fhir/Slot"} for r in ("self", "next")]
    assert told(api, bundle(CPTS_BUNDLE, link=two)) == {"self-link"}


def test_an_answer_that_is_not_empty_has_its_entries(api: Api) -> None:
    """Only total 0 without entries is let pass."""
    assert len(told(api, bundle(SOS_BUNDLE, total=1))) > 1


def test_the_resources_of_an_answer_are_held_to_their_rules(api: Api) -> None:
    entry = [{"fullUrl": "https://agenda.example/fhir/Slot/a", "resource": slot(PS_SLOT, id="a", comment="call us")}]
    faulty = bundle(SASFR + "BundleAgregateur", total=1, entry=entry)
    assert told(api, faulty) == {"slot-comment"}
    issues = api.post("Bundle/$validate", faulty).get_json()["issue"]
    places = [i["expression"] for i in issues if i["severity"] == "error"]
    assert places == [["Bundle.entry[0].resource.comment"]]


@pytest.mark.parametrize(
    "downgraded_rules", [{"profile_policies": ("Slot=warn",)}, {"validation": "warn"}], ids=["by policy", "by setting"]
)
def test_where_a_profile_only_warns_its_rules_do_so_too(api: Api, downgraded_rules: dict[str, Any]) -> None:
    ctx = replace(api.ctx, settings=replace(api.ctx.settings, **downgraded_rules))
    answer = Api(make_app(ctx), ctx).post("Slot", slot(PS_SLOT, comment="call us"), Prefer="return=OperationOutcome")
    assert answer.status_code == 201
    assert "slot-comment" in {
        i["details"]["coding"][0]["code"] for i in answer.get_json()["issue"] if i["code"] == "business-rule"
    }


CPTS = SAS + "sas-cpts-organization-aggregator"
FR_CORE = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
SOS_PLACE = SAS + "sas-sos-location-aggregator"


def cpts(value: str, **more: Any) -> Json:
    named = [{"type": concept(FR_CORE, "IDNST"), "system": IDNST, "value": value}]
    return {"resourceType": "Organization", "meta": {"profile": [CPTS]}, "identifier": named, "name": "CPTS"} | more


def sos_place(*types: Json) -> Json:
    named = [{"type": type, "system": "https://agenda.example/lieux", "value": "1"} for type in types]
    return PLACE | {
        "meta": {"profile": [SOS_PLACE]},
        "identifier": named,
        "name": "Centre",
        "managingOrganization": {"reference": "Organization/o"},
    }


@pytest.mark.parametrize(
    ("resource", "status", "severity"),
    [
        (cpts("12A0004225"), 201, "warning"),
        (cpts("12C0004225"), 422, "error"),
        (cpts("12A0004225", identifier=[]), 422, None),
        (sos_place(concept(PLACE_TYPE, "IDNST")), 201, "warning"),
        (sos_place(concept(PLACE_TYPE, "INTRN"), concept(PLACE_TYPE, "IDNST")), 201, "warning"),
        (sos_place(concept(V2, "IDNST")), 422, "error"),
        (sos_place(concept(PLACE_TYPE, "IDNST")) | {"name": ""}, 422, "warning"),
    ],
    ids=["Corsica", "no department", "none", "structure id", "both", "another type", "no name"],
)
def test_what_the_guide_accepts_though_a_profile_does_not_is_a_warning_on_writes_alone(
    api: Api, resource: Json, status: int, severity: str | None
) -> None:
    """SPEC §20, no. 15 and 28."""
    answer = api.post(resource["resourceType"], resource, Prefer="return=OperationOutcome")
    assert answer.status_code == status, answer.text
    rules = ("FINESS-invariant", "Location.identifier.type:patternCodeableConcept")
    told = {
        i["severity"]
        for i in answer.get_json()["issue"]
        if any(c["code"] in rules for c in i.get("details", {}).get("coding", ()))
    }
    assert told == ({severity} if severity else set())
    assert any(
        i["severity"] == "error"
        for i in api.post(f"{resource['resourceType']}/$validate", resource).get_json()["issue"]
    )
