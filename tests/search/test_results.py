from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.model.conditions import Sort
from fhirstore.model.queries import Include, Query
from fhirstore.search.results import read_sort
from fhirstore.search.syntax import UnknownParameter
from fhirstore.settings import Settings

Read = Callable[..., Query]


@pytest.mark.parametrize(
    ("query", "sort"),
    [
        ("", ()),
        ("_sort=birthdate", (Sort("birthdate"),)),
        ("_sort=-birthdate,name", (Sort("birthdate", True), Sort("name"))),
        ("_sort=-_lastUpdated, _id", (Sort("_lastUpdated", True), Sort("_id"))),
        ("_sort=name,-name", (Sort("name"),)),
    ],
)
def test_sort_keys(read: Read, query: str, sort: tuple[Sort, ...]) -> None:
    assert read("Patient", query, strict=True).sort == sort


@pytest.mark.parametrize(
    ("query", "count", "summary"),
    [
        ("", 10, None),
        ("_count=3", 3, None),
        ("_count=1000", 40, None),
        ("_count=0", 0, "count"),
        ("_count=0&_summary=true", 0, "count"),
        ("_summary=true&_count=0", 0, "count"),
        ("_summary=count", 10, "count"),
        ("_summary=text", 10, "text"),
    ],
)
def test_counts_and_summaries(read: Read, query: str, count: int, summary: str | None) -> None:
    found = read("Patient", query, strict=True)
    assert (found.count, found.summary) == (count, summary)


def test_the_default_page_is_not_greater_than_the_greatest(read: Read) -> None:
    assert read("Patient", "", settings=Settings(default_count=50, max_count=7)).count == 7


def test_a_parameter_that_is_only_indexed_for_a_chain_is_no_sort_key(registry: Registry) -> None:
    patient = registry.types["Patient"]
    hidden = {**patient.params, "gender": replace(patient.params["gender"], declared=False)}
    with pytest.raises(UnknownParameter, match="gender"):
        read_sort(replace(patient, params=hidden), "gender")


def test_the_rest_of_the_result_parameters(read: Read) -> None:
    found = read("Patient", "_total=accurate&_elements=name, birthDate,,name&_format=json&_pretty=true", strict=True)
    assert found.total == "accurate"
    assert found.elements == ("name", "birthDate")
    assert [name for name, _ in found.used] == ["_total", "_elements", "_format", "_pretty"]


@pytest.mark.parametrize(
    ("type", "query", "include"),
    [
        ("Patient", "_include=Patient:organization", Include("Patient", "organization")),
        (
            "Patient",
            "_include=Patient:general-practitioner:Practitioner",
            Include("Patient", "general-practitioner", "Practitioner"),
        ),
        ("Patient", "_include=Patient:*", Include("Patient", "*")),
        ("Patient", "_include=*", Include("*", "*")),
        ("Patient", "_include:iterate=Location:partof", Include("Location", "partof", iterate=True)),
        ("Patient", "_include:recurse=Location:partof", Include("Location", "partof", iterate=True)),
        ("Patient", "_revinclude=Observation:patient", Include("Observation", "patient", reverse=True)),
        ("Slot", "_include=Slot:schedule", Include("Slot", "schedule")),
        ("Slot", "_include=Slot:schedule:Schedule", Include("Slot", "schedule", "Schedule")),
        ("Slot", "_include:iterate=Schedule:actor", Include("Schedule", "actor", iterate=True)),
        ("Schedule", "_include=Schedule:actor:Location", Include("Schedule", "actor", "Location")),
        ("Schedule", "_include:iterate=Location:organization", Include("Location", "organization", iterate=True)),
    ],
)
def test_includes(read: Read, type: str, query: str, include: Include) -> None:
    assert read(type, query, strict=True).includes == (include,)


@pytest.mark.parametrize(
    ("type", "query"),
    [
        ("Schedule", "_include=Schedule:actor"),  # only Schedule:actor:Location is declared
        ("Schedule", "_include=Schedule:actor:Practitioner"),
        ("Slot", "_include=Slot:*"),
        ("Schedule", "_revinclude=Observation:subject"),
        ("Patient", "_include=Patient:link"),
        ("Patient", "_include=Patient:gender"),
        ("Patient", "_include=Patient:organization:Practitioner"),
        ("Patient", "_include=Basic:subject"),
    ],
)
def test_an_include_that_is_not_on_offer_is_left_out(read: Read, type: str, query: str) -> None:
    found = read(type, query)
    assert found.includes == ()
    assert found.used == ()
    assert found.ignored[0].severity == "warning"


def test_the_same_include_counts_once(read: Read) -> None:
    assert len(read("Slot", "_include=Slot:schedule&_include=Slot:schedule").includes) == 1
