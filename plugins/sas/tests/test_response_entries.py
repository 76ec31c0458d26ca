"""Entries of SAS answers: the stamp, the labels, the bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhirstore_sas import response_entries
from fhirstore_sas.response_entries import slot_meta, stamped
from fhirstore_sas.searches import CPTS, PS, SOS, Mode

R314 = "https://mos.esante.gouv.fr/NOS/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
R66 = "https://mos.esante.gouv.fr/NOS/TRE_R66-CategorieEtablissement"
LOCATION = "http://sas.fr/fhir/StructureDefinition/FrLocationAgregateur"


def members(**value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()[1:-1]


def opened(found: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(b"{" + found + b"}")
    return value


def labels(mode: Mode, *codes: str) -> list[str] | None:
    """The labels that a slot with these shows; None = it is left out."""
    meta = members(security=[{"system": R314, "code": c} for c in codes]) if codes else b""
    found = slot_meta(meta, mode.profiles["Slot"], mode.hidden)
    return None if found is None else [c["code"] for c in opened(found).get("security", ())]


def test_stamp_replaces_the_profiles_and_keeps_the_rest() -> None:
    meta = members(source="urn:x", profile=["http://a", "http://b"], tag=[{"code": "t"}])
    assert opened(stamped(meta, "http://c")) == {"profile": ["http://c"], "source": "urn:x", "tag": [{"code": "t"}]}


def test_stamp_is_made_where_there_was_no_meta() -> None:
    assert stamped(b"", "http://c") == b'"profile":["http://c"]'


@pytest.mark.parametrize(
    ("mode", "stored", "shown"),
    [
        (PS, ["PUBLIC", "PRO", "SNP"], ["PUBLIC", "PRO", "SNP"]),
        (PS, ["PRO"], ["PRO"]),
        (PS, ["PUBLIC", "CPTS"], ["PUBLIC"]),
        (PS, ["CPTS"], None),
        (PS, [], []),
        (PS, ["private"], None),
        (PS, ["PUBLIC", "private"], None),
        (CPTS, ["CPTS"], ["CPTS"]),
        (CPTS, ["PUBLIC", "CPTS"], ["PUBLIC", "CPTS"]),
        (CPTS, ["private"], None),
        (SOS, ["PUBLIC", "SNP"], ["PUBLIC", "SNP"]),
        (SOS, ["PUBLIC", "PRO"], ["PUBLIC"]),
        (SOS, ["PRO"], None),
    ],
)
def test_labels_follow_the_mode(mode: Mode, stored: list[str], shown: list[str] | None) -> None:
    assert labels(mode, *stored) == shown


def test_labels_of_other_systems_are_kept_and_do_not_open_a_slot() -> None:
    other = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}
    with_public = slot_meta(members(security=[{"system": R314, "code": "PUBLIC"}, other]), "p", PS.hidden)
    assert with_public is not None
    assert other in opened(with_public)["security"]
    assert slot_meta(members(security=[{"system": R314, "code": "CPTS"}, other]), "p", PS.hidden) is None


def service(code: str, system: str = R66 + "/FHIR/TRE-R66-CategorieEtablissement") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


@pytest.mark.parametrize("spelling", ["", "/TRE_R66-CategorieEtablissement", "/FHIR/TRE-R66-CategorieEtablissement"])
def test_ps_slots_lose_the_service_types_of_cpts_however_spelt(spelling: str) -> None:
    body = members(status="free", serviceType=[{"text": "604"}, service("604", R66 + spelling)], comment="c")
    assert opened(response_entries.slot(body)) == {
        "status": "free",
        "serviceType": [{"text": "604"}],
        "comment": "c",
    }


def test_ps_slot_without_other_service_types_has_none() -> None:
    assert opened(response_entries.slot(members(serviceType=[service("604")], status="free"))) == {"status": "free"}


def test_cpts_slots_keep_theirs_with_the_code_system_of_the_profile() -> None:
    body = members(serviceType=[service("604", R66)])
    assert opened(response_entries.slot_for_cpts(body)) == {"serviceType": [service("604")]}


def test_slots_without_cpts_are_not_touched() -> None:
    body = b'"status":"free","extension":[{"url":"x","valueDecimal":1.50}]'
    assert response_entries.slot(body) is body


def test_reduced_bodies_keep_their_other_bytes() -> None:
    body = b'"identifier":[{"system":"x","value":"1"}],"extension":[{"url":"x","valueDecimal":1.50}]'
    reduced, _ = response_entries.practitioner(body, frozenset())
    assert b"1.50" in reduced


def test_practitioner_role_stamps_the_contained_location_only() -> None:
    body = members(
        contained=[
            {"resourceType": "Location", "id": "l", "meta": {"profile": ["http://old"], "source": "s"}, "name": "L"},
            {"resourceType": "Organization", "id": "o"},
        ],
        active=True,
    )
    location, organization = opened(response_entries.practitioner_role(body))["contained"]
    assert location["meta"] == {"profile": [LOCATION], "source": "s"}
    assert (location["id"], location["name"]) == ("l", "L")
    assert organization == {"resourceType": "Organization", "id": "o"}


def test_what_is_not_there_is_not_made() -> None:
    assert opened(response_entries.practitioner_role(members(active=True))) == {"active": True}


@pytest.mark.parametrize(
    "reduced",
    [
        lambda body: response_entries.practitioner(body, frozenset())[0],
        response_entries.cpts_organization,
        response_entries.sos_organization,
    ],
)
def test_an_entry_of_which_no_identifier_is_left_has_none(reduced: Any) -> None:
    body = members(identifier=[{"system": "https://editeur.example", "value": "77"}], name="N")
    assert opened(reduced(body)) == {"name": "N"}
