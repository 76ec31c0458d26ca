"""Unambiguous errors of editors are corrected; each correction is reported and can be switched off."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.errors import StartupError
from fhirstore_sas.corrections import correct, international, with_milliseconds

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
PLATFORM = "urn:oid:1.2.250.1.213.3.6"


def identifier(system: str, value: str, code: str | None) -> dict[str, Any]:
    kind = {"type": {"coding": [{"system": V2, "code": code}]}} if code else {}
    return {**kind, "system": system, "value": value}


def practitioner(value: str = "10002673899", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Practitioner",
        "identifier": [identifier(IDNPS, value, "IDNPS")],
        "telecom": [{"system": "phone", "value": "02 99 01 02 03"}],
        **more,
    }


@pytest.mark.parametrize(
    ("system", "value", "code", "stored"),
    [
        (IDNPS, "10002673899", "IDNPS", "810002673899"),
        (IDNPS, "10002673899", "RPPS", "810002673899"),
        (IDNPS, "359900010", "ADELI", "0359900010"),
        (IDNST, "359900010", "FINEG", "1359900010"),
        (IDNST, "33417374840002", "SIRET", "333417374840002"),
        (IDNST, "359900010", "IDNST", "1359900010"),
        # no doubt is left only where the type tells
        (IDNPS, "10002673899", None, "10002673899"),
        (IDNPS, "359900010", "RPPS", "359900010"),
        (IDNPS, "10002673899", "INTRN", "10002673899"),
        (IDNST, "33417374840002", "IDNST", "33417374840002"),
        (IDNPS, "810002673899", "IDNPS", "810002673899"),
        (IDNPS, "3456780581/11242343", "IDNPS", "3456780581/11242343"),
        ("https://editor.example", "10002673899", "RPPS", "10002673899"),
    ],
)
def test_prefixes_are_completed_where_the_type_tells_which(
    system: str, value: str, code: str | None, stored: str
) -> None:
    resource = {"resourceType": "Organization", "identifier": [identifier(system, value, code)]}
    told = correct(resource)
    assert resource["identifier"][0]["value"] == stored
    assert [i.expression for i in told] == ([] if value == stored else [("Organization.identifier[0].value",)])


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("02 99 01 02 03", "+33299010203"),
        ("06.12.34.56.78", "+33612345678"),
        ("+33 (0)2 99 01 02 03", "+33299010203"),
        ("0033299010203", "+33299010203"),
        ("0262 20 12 34", "+262262201234"),
        ("0696 21 12 34", "+596696211234"),
        ("+32 2 555 12 12", "+3225551212"),
        ("15", None),
        ("3624", None),
        ("standard", None),
        ("02 99 01 02 03 poste 12", None),
        ("", None),
    ],
)
def test_phones_are_written_internationally_if_they_are_whole(text: str, written: str | None) -> None:
    assert international(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-12-07T09:00:00Z", "2026-12-07T09:00:00.000+00:00"),
        ("2026-12-07T09:00:00.5Z", "2026-12-07T09:00:00.500+00:00"),
        ("2026-12-07T09:00:00+01:00", "2026-12-07T09:00:00.000+01:00"),
        ("2026-12-07T09:00:00.120000+01:00", "2026-12-07T09:00:00.120+01:00"),
        ("2026-12-07T09:00:00.00000000Z", "2026-12-07T09:00:00.000+00:00"),
        ("2026-12-07T09:00:00.000+01:00", None),
        ("2026-12-07T09:00:00.0001Z", None),
        ("2026-12-07T09:00:00", None),
        ("2026-12-07", None),
        ("soon", None),
    ],
)
def test_times_are_written_with_milliseconds_and_offset_if_nothing_is_lost(text: str, written: str | None) -> None:
    assert with_milliseconds(text) == written


def test_the_times_of_a_slot_are_written_so() -> None:
    usual = "2026-12-07T09:00:00.000+01:00"
    slot = {"resourceType": "Slot", "start": "2026-12-07T08:00:00.00000000Z", "end": usual}
    told = correct(slot)
    assert (slot["start"], slot["end"]) == ("2026-12-07T08:00:00.000+00:00", usual)
    assert [i.expression for i in told] == [("Slot.start",)]
    other = {"resourceType": "Schedule", "planningHorizon": {"start": "2026-12-07T08:00:00Z"}}
    assert correct(other) == []


IN_1_2 = {"system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203", "code": "IDNST"}
IN_1_1 = {"system": "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type", "code": "IDNST"}
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
CPTS, SOS = SAS + "sas-cpts-organization-aggregator", SAS + "sas-sos-organization-aggregator"


def cpts(*codings: dict[str, str], claimed: str = "", value: str = "1950047225") -> dict[str, Any]:
    return {
        "resourceType": "Organization",
        "meta": {"profile": [claimed]} if claimed else {"source": "urn:x"},
        "identifier": [{"type": {"coding": list(codings)}, "system": IDNST, "value": value}],
        "name": "CPTS",
    }


@pytest.mark.parametrize("guide", ["1.2.0", "1.1.0"])
@pytest.mark.parametrize(
    ("codings", "claimed", "stored"),
    [
        ([IN_1_2], CPTS + "|1.1.0", [IN_1_2, IN_1_1]),
        ([IN_1_1], CPTS + "|1.2.0", [IN_1_2, IN_1_1]),
        # what satisfies the version that it claims stays as it was sent
        ([IN_1_2], CPTS + "|1.2.0", [IN_1_2]),
        ([IN_1_1], CPTS + "|1.1.0", [IN_1_1]),
        ([IN_1_1, IN_1_2], "", [IN_1_1, IN_1_2]),
        ([IN_1_1], SOS, [IN_1_1]),
        ([{"system": V2, "code": "IDNST"}], "", [{"system": V2, "code": "IDNST"}]),
    ],
    ids=["1.2 as 1.1", "1.1 as 1.2", "1.2 as 1.2", "1.1 as 1.1", "both", "SOS", "another"],
)
def test_a_cpts_has_the_coding_of_the_version_that_it_claims(
    guide: str, codings: list[dict[str, str]], claimed: str, stored: list[dict[str, str]]
) -> None:
    resource = cpts(*codings, claimed=claimed)
    told = correct(resource, guide)
    assert resource["identifier"][0]["type"]["coding"] == stored
    assert [i.expression for i in told] == ([] if stored == codings else [("Organization.identifier[0].type",)])


@pytest.mark.parametrize(
    ("guide", "sent", "stored"),
    [
        ("1.2.0", IN_1_1, [IN_1_2, IN_1_1]),
        ("1.2.0", IN_1_2, [IN_1_2]),
        ("1.1.0", IN_1_2, [IN_1_2, IN_1_1]),
        ("1.1.0", IN_1_1, [IN_1_1]),
    ],
)
@pytest.mark.parametrize("claimed", [CPTS, ""])
def test_one_that_claims_no_version_has_the_coding_of_that_of_the_option(
    claimed: str, guide: str, sent: dict[str, str], stored: list[dict[str, str]]
) -> None:
    resource = cpts(sent, claimed=claimed)
    correct(resource, guide)
    assert resource["identifier"][0]["type"]["coding"] == stored


def test_an_association_of_sos_medecins_is_no_cpts() -> None:
    resource = cpts(IN_1_1, value="334173748400020")
    assert correct(resource) == []


@pytest.mark.parametrize("type", [None, "IDNST", {"coding": "IDNST"}, {"coding": [None]}, []])
def test_types_that_are_no_fhir_are_left_to_the_validation(type: Any) -> None:
    resource = cpts()
    resource["identifier"] = [{"type": type, "system": IDNST, "value": "1950047225"}, None, "x"]
    before = copy.deepcopy(resource)
    correct(resource)
    assert resource["identifier"][1:] == before["identifier"][1:]


def test_either_version_of_a_cpts_is_accepted_and_told(api: Api) -> None:
    """SPEC §20, no. 13; without corrections the profile of the version decides (test_versions.py)."""
    body = cpts(IN_1_1, claimed=CPTS)
    assert any(i["severity"] == "error" for i in api.post("Organization/$validate", body).get_json()["issue"])
    answer = api.post("Organization", body, Prefer="return=OperationOutcome")
    assert answer.status_code == 201, answer.text
    (told,) = [i for i in answer.get_json()["issue"] if i["severity"] == "information"]
    assert told["expression"] == ["Organization.identifier[0].type"]
    assert "sas.corrections=off" in told["diagnostics"]
    french = {"Prefer": "return=OperationOutcome", "Accept-Language": "fr"}
    assert "exigé par la version 1.2.0 du guide, a été ajouté" in api.post("Organization", body, **french).text


def test_empty_elements_are_left_out() -> None:
    resource: dict[str, Any] = {
        "resourceType": "Practitioner",
        "name": [{"family": "Morvan", "given": ["", "Anne"], "prefix": [""], "text": " "}, {}],
        "address": [{"line": []}],
        "extension": [],
        "active": False,
    }
    told = correct(resource)
    assert resource == {
        "resourceType": "Practitioner",
        "name": [{"family": "Morvan", "given": ["Anne"]}],
        "active": False,
    }
    assert {i.severity for i in told} == {"information"}


def test_items_that_extensions_stand_beside_keep_their_place() -> None:
    name = {"given": ["", "Anne"], "_given": [{"id": "a"}, None]}
    resource = {"resourceType": "Practitioner", "name": [copy.deepcopy(name)]}
    assert correct(resource) == []
    assert resource["name"] == [name]


@pytest.mark.parametrize("value", [None, 1, {"a": 1}, ["x"], "x"])
def test_what_is_no_fhir_is_left_to_the_validation(value: Any) -> None:
    resource = {"resourceType": "Practitioner", "identifier": value, "telecom": [value]}
    before = copy.deepcopy(resource)
    assert correct(resource) == []
    assert resource == before


def test_corrections_are_stored_and_told_when_asked_for(api: Api) -> None:
    answer = api.put("Practitioner/p", practitioner(id="p"), Prefer="return=OperationOutcome")
    assert answer.status_code == 201
    told = answer.get_json()["issue"]
    assert {(i["severity"], i["expression"][0]) for i in told} == {
        ("information", "Practitioner.identifier[0].value"),
        ("information", "Practitioner.telecom[0].value"),
    }
    stored = api.get("Practitioner/p").get_json()
    assert (stored["identifier"][0]["value"], stored["telecom"][0]["value"]) == ("810002673899", "+33299010203")


@pytest.mark.parametrize("value", ["10002673899", "810002673899"])
def test_a_repeated_conditional_update_finds_what_was_completed(api: Api, value: str) -> None:
    """Else the second update, which has the id without prefix again, would make a second practitioner."""
    where = f"Practitioner?identifier={IDNPS}%7C10002673899"
    answers = [api.put(where, practitioner(value)).status_code for _ in range(2)]
    assert answers == [201, 200]
    structure = {"resourceType": "Organization", "identifier": [identifier(IDNST, "359900010", "FINEG")], "name": "o"}
    where = f"Organization?identifier={IDNST}%7C359900010"
    assert [api.put(where, structure).status_code for _ in range(2)] == [201, 200]


def test_messages_stay_as_they_are(api: Api) -> None:
    account = {
        "resourceType": "Practitioner",
        "meta": {"source": PLATFORM},
        "identifier": [identifier(IDNPS, "10002673899", "IDNPS")],
        "active": True,
        "name": [{"family": "Kerjean", "given": ["Maude"]}],
        "telecom": [{"system": "email", "value": "m@regulation.example"}],
    }
    answer = api.post("Practitioner", account)
    assert answer.status_code == 201, answer.text
    assert answer.get_json()["identifier"][0]["value"] == "10002673899"
    assert api.post("Practitioner", {**account, "name": [{"family": "", "given": ["Maude"]}]}).status_code == 422


def test_validate_judges_a_resource_as_it_is_and_a_write_as_it_becomes(api: Api) -> None:
    schedule = {"resourceType": "Schedule", "actor": [{"display": "x"}], "comment": ""}
    as_it_is = api.post("Schedule/$validate", schedule).get_json()["issue"]
    assert [i["expression"] for i in as_it_is if i["severity"] == "error"] == [["Schedule.comment"]]
    sent = {"resourceType": "Parameters", "parameter": []}
    sent["parameter"] = [{"name": "resource", "resource": schedule}, {"name": "mode", "valueCode": "create"}]
    as_written = api.post("Schedule/$validate", sent).get_json()["issue"]
    assert [i for i in as_written if i["severity"] == "error"] == []
    assert api.post("Schedule", schedule).status_code == 201


@pytest.fixture
def uncorrected(tmp_path: Path) -> Iterator[Api]:
    api = Template.make(plugins=("sas",), plugin_options=("sas.corrections=off",)).fresh(tmp_path / "off.db")
    yield api
    api.ctx.store.close()


def test_corrections_can_be_switched_off(uncorrected: Api) -> None:
    uncorrected.put("Practitioner/p", practitioner(id="p"))
    stored = uncorrected.get("Practitioner/p").get_json()
    assert (stored["identifier"][0]["value"], stored["telecom"][0]["value"]) == ("10002673899", "02 99 01 02 03")
    empty = {"resourceType": "Schedule", "actor": [{"display": "x"}], "comment": ""}
    assert uncorrected.post("Schedule", empty).status_code == 422


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("sas.corrections=maybe", r"sas\.corrections: 'maybe' is not allowed\. Use on or off \(default: on\)"),
        ("sas.nothing=on", r"sas\.nothing: unknown option\. Options: sas\.corrections, sas\.booking"),
        ("corrections=on", r"'corrections=on' is not an option\. Use PLUGIN\.NAME=VALUE"),
        ("sas.corrections", r"'sas\.corrections' is not an option\. Use PLUGIN\.NAME=VALUE"),
    ],
)
def test_a_wrong_option_aborts_start_up(entry: str, text: str) -> None:
    with pytest.raises(StartupError, match=text):
        Template.make(plugins=("sas",), plugin_options=(entry,))
