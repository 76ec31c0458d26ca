"""SAS searches over HTTP, on small agendas."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from support.api import Api

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"
R314 = "https://mos.esante.gouv.fr/NOS/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
R66 = "https://mos.esante.gouv.fr/NOS/TRE_R66-CategorieEtablissement/FHIR/TRE-R66-CategorieEtablissement"
R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
RPPS = "810002673899"
SIRET = "334173748400020"
SASFR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
WINDOW = "&start=ge2026-12-07T00:00:00&start=le2026-12-08T00:00:00&status=free"
AGENDA = "_include=Slot:schedule&_include:iterate=Schedule:actor"
SHARED = "&_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"
HAS = "&_has:Slot:schedule:"
NATIONAL = {"coding": [{"system": "http://interopsante.org/fhir/CodeSystem/fr-v2-0203", "code": "IDNPS"}]}


def ps(*ids: str, more: str = "", window: str = WINDOW) -> str:
    asked = ",".join(f"{IDNPS}%7C{i}" for i in ids or (RPPS,))
    return f"Slot?{AGENDA}{more}&schedule.actor:Practitioner.identifier={asked}{window}"


def sos(start: str = "2026-12-07T00:00:00%2B01:00", end: str = "2026-12-08T00:00:00%2B01:00") -> str:
    return (
        "Schedule?_revinclude=Slot:schedule&_include=Schedule:actor:Location&_include:iterate=Location:organization"
        f"{HAS}start=ge{start}{HAS}start=le{end}{HAS}status=free"
        f"&actor:Location.organization.identifier={IDNST}%7C{SIRET}"
    )


def put(api: Api, type: str, id: str, **body: Any) -> None:
    answer = api.put(f"{type}/{id}", {"resourceType": type, "id": id, **body})
    assert answer.status_code in (200, 201), answer.text


def slot(
    api: Api, id: str, *labels: str, hour: int = 9, status: str = "free", schedule: str = "s", **more: Any
) -> None:
    put(
        api,
        "Slot",
        id,
        meta={"security": [{"system": R314, "code": c} for c in labels or ("PUBLIC",)], "profile": ["http://stored"]},
        schedule={"reference": f"Schedule/{schedule}"},
        status=status,
        start=f"2026-12-07T{hour:02d}:00:00.000+01:00",
        end=f"2026-12-07T{hour:02d}:20:00.000+01:00",
        **more,
    )


def open_to(service: str) -> list[dict[str, Any]]:
    extension = [{"url": R5, "valueReference": {"reference": f"HealthcareService/{service}"}}]
    return [{"extension": extension, "coding": [{"system": R66, "code": "604"}]}]


def agenda(api: Api, value: str = RPPS) -> None:
    """A practitioner p with one place r, schedule s and CPTS h of organization o; no slots."""
    other = {"system": "https://editeur.example", "value": "77"}
    put(api, "Organization", "o", identifier=[other, {"system": IDNST, "value": "1950047225"}], name="CPTS")
    put(api, "HealthcareService", "h", providedBy={"reference": "Organization/o"})
    put(api, "Practitioner", "p", identifier=[other, {"system": IDNPS, "value": value}], name=[{"family": "Morvan"}])
    put(
        api,
        "PractitionerRole",
        "r",
        contained=[{"resourceType": "Location", "id": "l", "name": "Cabinet"}],
        practitioner={"reference": "Practitioner/p"},
        location=[{"reference": "#l"}],
    )
    put(api, "Schedule", "s", actor=[{"reference": "Practitioner/p"}, {"reference": "PractitionerRole/r"}])


def places(api: Api) -> None:
    """A place l of association o with schedule s; no slots."""
    put(api, "Organization", "o", identifier=[{"system": IDNST, "value": SIRET}])
    put(api, "Location", "l", name="Centre", managingOrganization={"reference": "Organization/o"})
    put(api, "Schedule", "s", actor=[{"reference": "Location/l"}])


def bundle(api: Api, query: str) -> dict[str, Any]:
    answer = api.get(query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def refs(found: dict[str, Any], mode: str | None = None) -> set[str]:
    return {
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in found.get("entry", ())
        if mode in (None, e["search"]["mode"])
    }


def stamps(found: dict[str, Any]) -> dict[str, list[str]]:
    return {e["resource"]["resourceType"]: e["resource"]["meta"]["profile"] for e in found["entry"]}


def resource(found: dict[str, Any], type: str) -> dict[str, Any]:
    return next(e["resource"] for e in found["entry"] if e["resource"]["resourceType"] == type)


def test_ps_search_stamps_bundle_and_entries(api: Api) -> None:
    agenda(api)
    slot(api, "a")
    found = bundle(api, ps())
    assert found["meta"]["profile"] == [SASFR + "BundleAgregateur"]
    assert stamps(found) == {
        "Slot": [SASFR + "FrSlotAgregateur"],
        "Schedule": [SASFR + "FrScheduleAgregateur"],
        "Practitioner": [SASFR + "FrPractitionerAgregateur"],
        "PractitionerRole": [SASFR + "FrPractitionerRoleExerciceAgregateur"],
    }
    role = resource(found, "PractitionerRole")
    assert role["contained"][0]["meta"]["profile"] == [SASFR + "FrLocationAgregateur"]


def test_cpts_search_stamps_every_slot_as_cpts_and_brings_the_cpts(api: Api) -> None:
    agenda(api)
    slot(api, "a")
    slot(api, "b", "PUBLIC", "CPTS", hour=10, serviceType=open_to("h"))
    found = bundle(api, ps(more=SHARED))
    assert found["meta"]["profile"] == [SAS + "sas-cpts-bundle-aggregator"]
    assert found["total"] == 2
    assert stamps(found)["Slot"] == [SAS + "sas-cpts-slot-aggregator"]
    assert stamps(found)["HealthcareService"] == [SAS + "sas-cpts-healthcareservice-aggregator"]
    organization = resource(found, "Organization")
    assert organization["meta"]["profile"] == [SAS + "sas-cpts-organization-aggregator"]
    assert [i["value"] for i in organization["identifier"]] == ["1950047225"]
    assert refs(found, "include") == {
        "Schedule/s",
        "Practitioner/p",
        "PractitionerRole/r",
        "HealthcareService/h",
        "Organization/o",
    }


def test_same_slots_in_a_ps_search_show_nothing_of_the_cpts(api: Api) -> None:
    agenda(api)
    slot(api, "shared", "PUBLIC", "CPTS", serviceType=[{"text": "Visite"}, *open_to("h")])
    slot(api, "only", "CPTS", hour=10, serviceType=open_to("h"))
    found = bundle(api, ps())
    assert found["total"] == 1
    shown = resource(found, "Slot")
    assert shown["id"] == "shared"
    assert [c["code"] for c in shown["meta"]["security"]] == ["PUBLIC"]
    assert shown["serviceType"] == [{"text": "Visite"}]


def test_nothing_is_there_for_slots_that_are_left_out(api: Api) -> None:
    agenda(api)
    slot(api, "only", "CPTS", serviceType=open_to("h"))
    found = bundle(api, ps())
    assert found["total"] == 0
    assert "entry" not in found


def test_everything_is_on_one_page_whatever_count_says(api: Api) -> None:
    agenda(api)
    for n in range(5):
        slot(api, f"a{n}", hour=8 + n)
    found = bundle(api, ps(more="&_count=2"))
    assert found["total"] == 5
    assert len(refs(found, "match")) == 5
    assert [link["relation"] for link in found["link"]] == ["self"]


def test_self_link_repeats_the_query_as_received(api: Api) -> None:
    query = ps(window="&start=ge2026-12-07T00:00:00.000%2B00:00&start=le2026-12-08T00:00:00.000+00:00&status=free")
    assert bundle(api, query)["link"] == [{"relation": "self", "url": f"http://localhost/fhir/{query}"}]


@pytest.mark.parametrize("more", ["unknown=1", "_include=Slot:nothing", "_sort=nothing", "%00=1"])
def test_what_is_ignored_is_told_by_no_entry_and_the_self_link_equals_the_request(api: Api, more: str) -> None:
    agenda(api)
    slot(api, "a")
    query = ps(RPPS) + f"&{more}"
    found = bundle(api, query)
    assert [e["search"]["mode"] for e in found["entry"]].count("outcome") == 0
    assert found["link"][0]["url"].partition("/fhir/")[2] == query.replace("|", "%7C")
    assert api.get(query, Prefer="handling=strict").status_code == 400


def test_count_alone_gives_the_total(api: Api) -> None:
    agenda(api)
    slot(api, "a")
    slot(api, "b", "CPTS", hour=10)
    found = bundle(api, ps(more="&_summary=count"))
    assert (found["total"], found.get("entry")) == (1, None)


@pytest.mark.parametrize("stored", [RPPS, RPPS[1:]])
@pytest.mark.parametrize("asked", [RPPS, RPPS[1:]])
def test_practitioner_is_found_and_shown_with_prefix_however_stored(api: Api, stored: str, asked: str) -> None:
    agenda(api, stored)
    slot(api, "a")
    found = bundle(api, ps(asked))
    assert [i["value"] for i in resource(found, "Practitioner")["identifier"]] == [RPPS]


def test_of_several_national_ids_the_one_asked_for_is_first_whoever_asked_before(api: Api) -> None:
    adeli = "0291234567"
    agenda(api)
    both = [{"system": IDNPS, "value": value} for value in (RPPS, adeli)]
    put(api, "Practitioner", "p", identifier=both, name=[{"family": "Morvan"}])
    slot(api, "a")
    for asked, first in ((RPPS, RPPS), (adeli, adeli), (RPPS, RPPS), (adeli, adeli)):
        shown = resource(bundle(api, ps(asked)), "Practitioner")["identifier"]
        assert [one["value"] for one in shown] == [first, *{RPPS, adeli} - {first}]
        assert all(one["type"] == NATIONAL for one in shown)


def test_stored_resources_stay_as_they_are(api: Api) -> None:
    agenda(api)
    slot(api, "a")
    bundle(api, ps())
    assert len(api.get("Practitioner/p").get_json()["identifier"]) == 2
    assert api.get("Slot/a").get_json()["meta"]["profile"] == ["http://stored"]


def test_blank_after_a_comma_and_unknown_practitioners_do_no_harm(api: Api) -> None:
    agenda(api)
    slot(api, "a")
    query = f"Slot?schedule.actor:Practitioner.identifier={IDNPS}%7C800000000000,%20{IDNPS}%7C{RPPS}{WINDOW}"
    assert refs(bundle(api, query)) == {"Slot/a"}


@pytest.mark.parametrize("asked", ["", "%20", ",", f"{IDNPS}%7C", f"{IDNPS}%7C,%20"])
@pytest.mark.parametrize("mode", ["PS", "CPTS", "SOS"])
def test_who_names_nobody_gets_nobodys_slots(api: Api, mode: str, asked: str) -> None:
    (places if mode == "SOS" else agenda)(api)
    slot(api, "a")
    whole = {"PS": ps(), "CPTS": ps(more=SHARED), "SOS": sos()}[mode]
    named = f"{IDNST}%7C{SIRET}" if mode == "SOS" else f"{IDNPS}%7C{RPPS}"
    assert bundle(api, whole)["total"] == 1
    found = bundle(api, whole.replace(named, asked))
    assert (found["total"], "entry" in found) == (0, False)
    assert found["meta"]["profile"] == bundle(api, whole)["meta"]["profile"]
    assert [link["relation"] for link in found["link"]] == ["self"]


def test_encoded_parameter_names_are_understood(api: Api) -> None:
    agenda(api)
    slot(api, "a")
    name = quote("schedule.actor:Practitioner.identifier", safe="")
    found = bundle(api, f"Slot/?_include%3Aiterate=Schedule%3Aactor&{name}={quote(f'{IDNPS}|{RPPS}')}{WINDOW}")
    assert found["meta"]["profile"] == [SASFR + "BundleAgregateur"]


def test_only_free_slots_inside_the_window_are_sent(api: Api) -> None:
    agenda(api)
    slot(api, "in")
    slot(api, "busy", hour=10, status="busy")
    window = "&start=ge2026-12-07T09:00:00.000%2B01:00&start=le2026-12-07T10:00:00.000%2B01:00"
    slot(api, "before", hour=8)
    slot(api, "after", hour=11)
    assert refs(bundle(api, ps(window=window + "&status=free")), "match") == {"Slot/in"}
    assert refs(bundle(api, ps(window=window)), "match") == {"Slot/in"}


@pytest.mark.parametrize("include", ["", "_include=Slot:schedule&", "_include:iterate=Schedule:actor&"])
def test_who_includes_less_gets_the_slots_all_the_same(api: Api, include: str) -> None:
    agenda(api)
    slot(api, "a")
    assert "Slot/a" in refs(bundle(api, ps().replace(AGENDA + "&", include)))


def test_private_slots_are_never_sent(api: Api) -> None:
    agenda(api)
    slot(api, "a", "private")
    slot(api, "b", "PUBLIC", "PRIVATE", hour=10)
    assert bundle(api, ps())["total"] == bundle(api, ps(more=SHARED))["total"] == 0


def account(api: Api) -> None:
    """A regulator account with the identifier of the practitioner."""
    put(
        api,
        "Practitioner",
        "account",
        meta={"source": PLATFORM},
        identifier=[{"type": NATIONAL, "system": IDNPS, "value": RPPS}],
        active=True,
        name=[{"family": "Loridon", "given": ["Anne"]}],
        telecom=[{"system": "email", "value": "a@example.org"}],
    )


def test_regulator_account_with_the_same_id_is_never_matched(api: Api) -> None:
    account(api)
    put(api, "Schedule", "wrong", actor=[{"reference": "Practitioner/account"}])
    slot(api, "x", schedule="wrong")
    agenda(api)
    slot(api, "a")
    assert refs(bundle(api, ps())) == {"Slot/a", "Schedule/s", "Practitioner/p", "PractitionerRole/r"}


def test_regulator_account_in_a_schedule_is_not_included(api: Api) -> None:
    account(api)
    agenda(api)
    named = ("Practitioner/p", "PractitionerRole/r", "Practitioner/account")
    put(api, "Schedule", "s", actor=[{"reference": ref} for ref in named])
    slot(api, "a")
    assert refs(bundle(api, ps())) == {"Slot/a", "Schedule/s", "Practitioner/p", "PractitionerRole/r"}


def test_other_searches_stay_plain_fhir(api: Api) -> None:
    agenda(api)
    for n in range(3):
        slot(api, f"a{n}", "CPTS", hour=8 + n, serviceType=open_to("h"))
    found = bundle(api, "Slot?status=free&_include=Slot:schedule&_count=2")
    assert "profile" not in found["meta"]
    assert [link["relation"] for link in found["link"]] == ["self", "next"]
    assert resource(found, "Slot")["meta"]["profile"] == ["http://stored"]


def test_sos_search_brings_only_slots_that_satisfy_all_criteria(api: Api) -> None:
    places(api)
    slot(api, "in", "PUBLIC", "SNP")
    slot(api, "busy", hour=10, status="busy")
    slot(api, "late", hour=23)
    found = bundle(api, sos(end="2026-12-07T20:00:00%2B01:00"))
    assert (refs(found, "match"), refs(found, "include")) == (
        {"Schedule/s"},
        {"Slot/in", "Location/l", "Organization/o"},
    )
    assert found["total"] == 1
    assert found["meta"]["profile"] == [SAS + "sas-sos-bundle-aggregator"]
    assert stamps(found) == {
        "Schedule": [SAS + "sas-sos-schedule-aggregator"],
        "Slot": [SAS + "sas-sos-slot-aggregator"],
        "Location": [SAS + "sas-sos-location-aggregator"],
        "Organization": [SAS + "sas-sos-organization-aggregator"],
    }


def test_sos_schedule_whose_slots_satisfy_the_criteria_only_together_does_not_match(api: Api) -> None:
    places(api)
    slot(api, "before", hour=8)
    slot(api, "after", hour=12)
    slot(api, "busy", hour=10, status="busy")
    found = bundle(api, sos("2026-12-07T09:00:00%2B01:00", "2026-12-07T11:00:00%2B01:00"))
    assert (found["total"], found.get("entry")) == (0, None)


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("start=ge2026-12-07T10:00:00%2B01:00", {"Slot/at10", "Slot/at11"}),
        ("start=le2026-12-07T10:00:00%2B01:00", {"Slot/at9", "Slot/at10"}),
        ("start=gt2026-12-07T10:00:00%2B01:00", {"Slot/at11"}),
        ("start=lt2026-12-07T10:00:00%2B01:00", {"Slot/at9"}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_of_several_sos_bounds_the_tightest_holds(api: Api, more: str, found: set[str], first: bool) -> None:
    places(api)
    for hour in (9, 10, 11):
        slot(api, f"at{hour}", hour=hour)
    wide = "".join(f"{HAS}start={bound}" for bound in ("gt2026-12-06", "lt2026-12-09"))
    query = sos().replace("Schedule?", f"Schedule?{HAS[1:]}{more}{wide}&") if first else f"{sos()}{wide}{HAS}{more}"
    assert {ref for ref in refs(bundle(api, query)) if ref.startswith("Slot/")} == found


def test_sos_slots_lose_the_label_pro(api: Api) -> None:
    places(api)
    slot(api, "a", "PUBLIC", "PRO")
    assert [c["code"] for c in resource(bundle(api, sos()), "Slot")["meta"]["security"]] == ["PUBLIC"]


def test_sos_place_with_nothing_but_professional_slots_is_left_out(api: Api) -> None:
    places(api)
    slot(api, "a", "PRO")
    assert bundle(api, sos()).get("entry") is None


def test_sos_association_is_found_without_prefix(api: Api) -> None:
    places(api)
    put(api, "Organization", "o", identifier=[{"system": IDNST, "value": SIRET[1:]}])
    slot(api, "a")
    found = bundle(api, sos())
    assert resource(found, "Organization")["identifier"][0]["value"] == SIRET


def test_sos_include_with_a_capital_is_understood(api: Api) -> None:
    places(api)
    slot(api, "a")
    found = bundle(api, sos().replace("Location:organization&", "Location:Organization&"))
    assert "Organization/o" in refs(found)
    assert all(e["search"]["mode"] != "outcome" for e in found["entry"])
