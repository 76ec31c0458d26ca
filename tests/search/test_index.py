from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fhirstore.capability.registry import Registry, SearchParam
from fhirstore.definitions.core import load
from fhirstore.fhirpath.search_expressions import compile_search_expression
from fhirstore.model.conditions import MAX_TIME, MIN_TIME
from fhirstore.model.indexing import IndexEntry
from fhirstore.search.index import extract
from fhirstore.search.numbers import number_key
from fhirstore.search.values import date_interval


def param(type: str, kind: str, expression: str) -> SearchParam:
    compiled = compile_search_expression(load(), type, expression)
    return SearchParam("x", kind, "urn:x", expression, (), compiled.extract, compiled.single)


def entries(type: str, kind: str, expression: str, base: str | None = None, **members: Any) -> list[IndexEntry]:
    """The entries of one parameter on a resource of the type with these members."""
    made = {"x": param(type, kind, expression)}
    return extract(made, {"resourceType": type, **members}, base=base).get("x", [])


def at(text: str) -> int:
    return date_interval(text, UTC)[0]


# --- tokens


def test_a_codeable_concept_gives_each_of_its_codings() -> None:
    code = {"coding": [{"system": "http://loinc.org", "code": "1"}, {"code": "2"}, {"system": "urn:s"}], "text": "t"}
    assert entries("Observation", "token", "Observation.code", code=code) == [
        ("http://loinc.org", "1"),
        ("", "2"),
        ("urn:s", ""),
    ]


def test_a_concept_with_text_only_is_present_without_code() -> None:
    assert entries("Observation", "token", "Observation.code", code={"text": "pain"}) == [("", "")]


@pytest.mark.parametrize(
    ("type", "expression", "members", "expected"),
    [
        ("Patient", "Patient.identifier", {"identifier": [{"system": "urn:s", "value": "7"}]}, [("urn:s", "7")]),
        ("Patient", "Patient.telecom", {"telecom": [{"system": "phone", "value": "+33"}]}, [("phone", "+33")]),
        ("Patient", "Patient.gender", {"gender": "male"}, [("", "male")]),
        ("Patient", "Patient.active", {"active": False}, [("", "false")]),
        ("Encounter", "Encounter.class", {"class": {"system": "urn:s", "code": "AMB"}}, [("urn:s", "AMB")]),
        ("Patient", "Patient.multipleBirth", {"multipleBirthInteger": 2}, [("", "2")]),
        ("ValueSet", "ValueSet.version", {"version": "1.0"}, [("", "1.0")]),
    ],
)
def test_tokens_of_other_types(type: str, expression: str, members: dict[str, Any], expected: list[IndexEntry]) -> None:
    assert entries(type, "token", expression, **members) == expected


def test_equal_entries_are_given_once() -> None:
    twice = [{"system": "urn:s", "value": "7"}, {"system": "urn:s", "value": "7", "use": "old"}]
    assert entries("Patient", "token", "Patient.identifier", identifier=twice) == [("urn:s", "7")]


def test_parameters_without_a_value_are_left_out() -> None:
    assert extract({"x": param("Patient", "token", "Patient.gender")}, {"resourceType": "Patient"}) == {}


# --- strings


def test_a_human_name_gives_each_of_its_parts() -> None:
    name = {"family": "Éluard", "given": ["Paul", "Eugène"], "prefix": ["M."], "suffix": ["Jr"], "text": "Paul Éluard"}
    assert set(entries("Patient", "string", "Patient.name", name=[name])) == {
        ("eluard", "Éluard"),
        ("paul", "Paul"),
        ("eugene", "Eugène"),
        ("m.", "M."),
        ("jr", "Jr"),
        ("paul eluard", "Paul Éluard"),
    }


def test_an_address_gives_each_of_its_parts() -> None:
    address = {"line": ["1 rue A", "Bât. B"], "city": "Angers", "postalCode": "49000", "country": "FR", "use": "home"}
    assert {exact for _, exact in entries("Patient", "string", "Patient.address", address=[address])} == {
        "1 rue A",
        "Bât. B",
        "Angers",
        "49000",
        "FR",
    }


def test_a_plain_string_is_kept_as_sent_and_folded() -> None:
    assert entries("Organization", "string", "Organization.name", name="CHU  Élan") == [("chu elan", "CHU  Élan")]


# --- dates


def test_an_instant_is_a_point() -> None:
    low = at("2024-06-12T14:20:00Z")
    for text in ("2024-06-12T16:20:00+02:00", "2024-06-12T16:20:00.000+02:00", "2024-06-12T14:20:00Z"):
        assert entries("Slot", "date", "Slot.start", start=text) == [(low, low + 1)]


def test_a_leap_second_is_the_next_second() -> None:
    low = at("2017-01-01T00:00:00Z")
    assert entries("Slot", "date", "Slot.start", start="2016-12-31T23:59:60Z") == [(low, low + 1)]


def test_a_date_time_is_the_interval_of_its_precision() -> None:
    assert entries("Observation", "date", "Observation.effective", effectiveDateTime="2024-02") == [
        (at("2024-02-01"), at("2024-03-01"))
    ]


def test_a_time_without_offset_is_completed_by_the_zone() -> None:
    made = {"x": param("Observation", "date", "Observation.effective")}
    resource = {"resourceType": "Observation", "effectiveDateTime": "2024-01-01T10:00:00"}
    low = at("2024-01-01T09:00:00Z")
    assert extract(made, resource, ZoneInfo("Europe/Paris"))["x"] == [(low, low + 1_000_000)]


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ({"start": "2024-01-01", "end": "2024-01-31"}, [("2024-01-01", "2024-02-01")]),
        ({"start": "2024-01-01"}, [("2024-01-01", None)]),
        ({"end": "2024"}, [(None, "2025")]),
        ({"id": "no-bound"}, []),
        ({"start": "2024-02-01", "end": "2024"}, [("2024-02-01", "2025")]),
    ],
)
def test_a_period_is_open_where_it_has_no_bound(
    period: dict[str, str], expected: list[tuple[str | None, str | None]]
) -> None:
    assert entries("Encounter", "date", "Encounter.period", period=period) == [
        (at(low) if low else MIN_TIME, at(high) if high else MAX_TIME) for low, high in expected
    ]


def test_a_period_that_ends_before_it_starts_counts_as_its_start() -> None:
    low = at("2024-02-01")
    assert entries("Encounter", "date", "Encounter.period", period={"start": "2024-02", "end": "2023"}) == [
        (low, low + 1)
    ]


def test_a_timing_counts_by_its_outer_limits() -> None:
    timing = {
        "event": ["2024-03-02", "2024-01-05"],
        "repeat": {"boundsPeriod": {"start": "2024-02-01", "end": "2024-04-01"}},
    }
    assert entries("ServiceRequest", "date", "ServiceRequest.occurrence", occurrenceTiming=timing) == [
        (at("2024-01-05"), at("2024-04-02"))
    ]


def test_a_text_that_is_no_date_gives_no_entry_and_spoils_no_other() -> None:
    timing = {"event": ["yesterday"]}
    assert entries("ServiceRequest", "date", "ServiceRequest.occurrence", occurrenceTiming=timing) == []
    made = entries(
        "Patient", "date", "Patient.name.period", name=[{"period": {"start": "x"}}, {"period": {"end": "2024"}}]
    )
    assert made == [(MIN_TIME, at("2025"))]


# --- numbers and quantities


def test_numbers_are_exact_keys() -> None:
    prediction = [
        {"probabilityDecimal": Decimal("0.10")},
        {"probabilityDecimal": Decimal("0.1")},
        {"probabilityDecimal": 1},
    ]
    expression = "RiskAssessment.prediction.probability"
    assert entries("RiskAssessment", "number", expression, prediction=prediction) == [
        (number_key(Decimal("0.1")),),
        (number_key(Decimal(1)),),
    ]


def test_a_range_gives_its_two_ends() -> None:
    prediction = [{"probabilityRange": {"low": {"value": 1}, "high": {"value": Decimal("2.5")}}}]
    assert entries("RiskAssessment", "number", "RiskAssessment.prediction.probability", prediction=prediction) == [
        (number_key(Decimal(1)),),
        (number_key(Decimal("2.5")),),
    ]


def test_a_quantity_keeps_system_code_and_unit() -> None:
    value = {"value": Decimal("5.40"), "unit": "milligram", "system": "http://unitsofmeasure.org", "code": "mg"}
    assert entries("Observation", "quantity", "Observation.value", valueQuantity=value) == [
        (number_key(Decimal("5.4")), "http://unitsofmeasure.org", "mg", "milligram")
    ]


def test_money_is_a_quantity_of_its_currency() -> None:
    assert entries("Invoice", "quantity", "Invoice.totalNet", totalNet={"value": 12, "currency": "EUR"}) == [
        (number_key(Decimal(12)), "urn:iso:std:iso:4217", "EUR", "")
    ]


def test_a_quantity_without_value_gives_no_entry() -> None:
    assert entries("Observation", "quantity", "Observation.value", valueQuantity={"unit": "mg"}) == []


# --- references and uris


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("Patient/1", "Patient/1"),
        ("Patient/1/_history/3", "Patient/1"),
        ("http://other.example/fhir/Patient/1", "http://other.example/fhir/Patient/1"),
        ("http://other.example/fhir/Patient/1/_history/3", "http://other.example/fhir/Patient/1"),
        ("http://server.example/fhir/Patient/1", "Patient/1"),
        ("http://server.example/fhir2/Patient/1", "http://server.example/fhir2/Patient/1"),
        ("urn:uuid:0a0b", "urn:uuid:0a0b"),
        ("#inside", ""),
    ],
)
def test_references_lose_their_version_and_the_own_base(reference: str, target: str) -> None:
    found = entries(
        "Observation",
        "reference",
        "Observation.subject",
        "http://server.example/fhir",
        subject={"reference": reference},
    )
    assert found == [(target,)]


def test_a_reference_by_identifier_is_indexed_as_a_token_of_its_own() -> None:
    subject = {"identifier": {"system": "urn:s", "value": "7"}}
    made = extract({"subject": param("Observation", "reference", "Observation.subject")}, {"subject": subject})
    assert made == {"subject": [("",)], "subject:identifier": [("urn:s", "7")]}


def test_a_canonical_is_found_with_and_without_its_version() -> None:
    assert entries(
        "QuestionnaireResponse",
        "reference",
        "QuestionnaireResponse.questionnaire",
        questionnaire="http://q.example/a|2",
    ) == [("http://q.example/a|2",), ("http://q.example/a",)]


def test_a_uri_is_kept_as_sent() -> None:
    assert entries("ValueSet", "uri", "ValueSet.url", url="http://v.example/A") == [("http://v.example/A",)]


# --- whatever is stored


@pytest.mark.parametrize(
    "garbage", [None, 5, "text", True, [], {}, [[]], [{}], {"coding": 3}, {"value": "x"}, {"start": 4}]
)
def test_what_is_not_of_its_type_breaks_nothing(registry: Registry, garbage: Any) -> None:
    names = "code status subject effectiveDateTime valueQuantity identifier name birthDate gender start schedule actor"
    for type, params in registry.indexed_types.items():
        resource = {"resourceType": type, **dict.fromkeys(names.split(), garbage)}
        for found in extract(params, resource).values():
            assert all(isinstance(member, (str, int)) for entry in found for member in entry)
