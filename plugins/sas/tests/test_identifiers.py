"""National ids in their notations, and what answers show of them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from fhirstore_sas.identifiers import (
    cpts_identifier,
    location_identifiers,
    practitioner_identifiers,
    sos_identifier,
    sos_location_identifiers,
    spellings,
    structure_reference,
    with_prefix,
)
from fhirstore_sas.raw_json import RawMembers

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
IDNST = "urn:oid:1.2.250.1.71.4.2.2"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
PLACES = "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type"
CORE_2 = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"


def identifier(system: str, value: str, code: str, **more: Any) -> dict[str, Any]:
    return {"system": system, "value": value, "type": {"coding": [{"system": V2, "code": code}]}, **more}


def opened(*identifiers: dict[str, Any]) -> list[RawMembers]:
    return msgspec.json.decode(json.dumps(identifiers), type=list[RawMembers])


def plain(found: list[RawMembers]) -> list[dict[str, Any]]:
    decoded: list[dict[str, Any]] = json.loads(msgspec.json.encode(found))
    return decoded


@pytest.mark.parametrize(
    ("system", "asked", "also"),
    [
        (IDNPS, "810002673899", "10002673899"),
        (IDNPS, "10002673899", "810002673899"),
        (IDNPS, "0751234567", "751234567"),
        (IDNPS, "751234567", "0751234567"),
        (IDNST, "1950047225", "950047225"),
        (IDNST, "334173748400020", "34173748400020"),
    ],
)
def test_national_ids_are_looked_for_with_and_without_prefix(system: str, asked: str, also: str) -> None:
    assert spellings(system, asked) == (asked, also)


@pytest.mark.parametrize(
    ("system", "asked"),
    [
        (IDNPS, "3456780581/11242343"),
        (IDNPS, "12"),
        ("https://editeur.example", "810002673899"),
        (None, "810002673899"),
    ],
)
def test_other_ids_are_looked_for_as_they_are(system: str | None, asked: str) -> None:
    assert spellings(system, asked) == (asked,)


def test_prefixes_are_added_to_known_forms_only() -> None:
    assert with_prefix(IDNPS, "10002673899") == "810002673899"
    assert with_prefix(IDNST, "499900000000033") == "499900000000033"
    assert with_prefix(IDNPS, "internal-7") is None


def test_practitioner_keeps_national_ids_alone_with_one_coding() -> None:
    stored = opened(
        identifier("https://editeur.example", "77", "INTRN"),
        identifier("urn:oid:1.2.250.1.213.3.6", "b6e39355-8a61-4556-b340-36f7b95fec6a", "INTRN"),
        {
            "system": IDNPS,
            "value": "810002673899",
            "use": "official",
            "type": {"coding": [{"system": V2, "code": "RPPS"}, {"code": "x"}]},
        },
    )
    assert plain(practitioner_identifiers(stored, set())) == [
        identifier(IDNPS, "810002673899", "IDNPS", use="official"),
    ]


def test_practitioner_ids_in_another_notation_are_converted_and_not_repeated() -> None:
    stored = opened(
        identifier("https://rpps.example", "10002673899", "RPPS"),
        identifier(IDNPS, "810002673899", "IDNPS"),
        identifier("https://adeli.example", "751234567", "ADELI"),
        identifier("https://rpps.example", "no national form", "RPPS"),
    )
    assert [i["value"] for i in plain(practitioner_identifiers(stored, set()))] == ["810002673899", "0751234567"]


def test_the_id_that_was_asked_for_comes_first() -> None:
    stored = opened(identifier(IDNPS, "0751234567", "IDNPS"), identifier(IDNPS, "10002673899", "IDNPS"))
    shown = plain(practitioner_identifiers(stored, {"810002673899"}))
    assert [i["value"] for i in shown] == ["810002673899", "0751234567"]


def test_cpts_shows_its_finess_with_the_codings_of_both_versions() -> None:
    stored = opened(
        identifier("https://editeur.example", "7", "INTRN"),
        identifier(IDNST, "334173748400020", "IDNST"),
        identifier(IDNST, "1950047225", "IDNST"),
    )
    (shown,) = plain(cpts_identifier(stored))
    assert (shown["system"], shown["value"]) == (IDNST, "1950047225")
    assert shown["type"] == {"coding": [{"system": CORE_2, "code": "IDNST"}, {"system": PLACES, "code": "IDNST"}]}


def test_sos_association_shows_its_siret() -> None:
    stored = opened(identifier(IDNST, "1950047225", "IDNST"), identifier(IDNST, "34173748400020", "IDNST"))
    (shown,) = plain(sos_identifier(stored))
    assert shown["value"] == "334173748400020"
    assert shown["type"] == {"coding": [{"system": PLACES, "code": "IDNST"}]}


def test_structure_without_the_wanted_kind_shows_its_first_national_id() -> None:
    assert plain(sos_identifier(opened(identifier(IDNST, "1950047225", "IDNST"))))[0]["value"] == "1950047225"


def test_places_show_whole_identifiers_and_sos_places_internal_ones() -> None:
    whole = identifier("https://editeur.example", "1", "INTRN")
    national = identifier(IDNST, "334173748400020", "IDNST")
    assert plain(location_identifiers(opened({"value": "1"}, whole))) == [whole]
    assert plain(sos_location_identifiers(opened(national, whole))) == [whole]
    assert plain(sos_location_identifiers(opened(national))) == [national]


def test_structure_named_by_value_alone_gets_type_and_system() -> None:
    organization = msgspec.json.decode(b'{"identifier":{"value":"412345678912345"}}', type=RawMembers)
    shown = json.loads(msgspec.json.encode(structure_reference(organization)))
    assert shown == {"identifier": identifier(IDNST, "412345678912345", "IDNST")}


def test_structure_named_by_an_unknown_value_stays_as_it_is() -> None:
    organization = msgspec.json.decode(b'{"identifier":{"value":"cabinet-7"}}', type=RawMembers)
    assert structure_reference(organization) == organization
