"""Snapshots made from differentials: what is inherited, unfolded, sliced, and which faults are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from profiling import CORE, URL, catalog, element, profile

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError
from fhirstore.validation.snapshot import Snapshots

A, B = "http://example.org/StructureDefinition/a", "http://example.org/StructureDefinition/b"


def test_a_differential_stands_over_the_elements_of_its_base_in_another_package() -> None:
    base = profile(A, "Patient", element("Patient.birthDate", min=1), element("Patient.name", min=1))
    derived = profile(B, "Patient", element("Patient.name", max="2"), base=A)
    elements = Snapshots(catalog([base], [derived])).of(B).elements
    assert elements["Patient.birthDate"]["min"] == 1
    assert (elements["Patient.name"]["min"], elements["Patient.name"]["max"]) == (1, "2")
    assert elements["Patient.gender"]["binding"]["strength"] == "required"


def test_parts_of_a_data_type_are_unfolded_where_the_differential_walks_into_it() -> None:
    made = profile(A, "Patient", element("Patient.name.family", min=1))
    ids = list(Snapshots(catalog([made])).of(A).elements)
    at = ids.index("Patient.name")
    assert ids[at + 1 : at + 3] == ["Patient.name.id", "Patient.name.extension"]
    assert "Patient.name.family" in ids
    assert "Patient.telecom.value" not in ids


def test_parts_of_a_profiled_type_come_with_what_that_profile_says() -> None:
    name = profile(A, "HumanName", element("HumanName.family", min=1), kind="complex-type")
    made = profile(
        B,
        "Patient",
        element("Patient.name", type=[{"code": "HumanName", "profile": [A]}]),
        element("Patient.name.given", max="1"),
    )
    elements = Snapshots(catalog([name, made])).of(B).elements
    assert elements["Patient.name.family"]["min"] == 1
    assert elements["Patient.name.given"]["max"] == "1"


def test_a_slice_inherits_from_what_is_sliced_but_not_its_minimum() -> None:
    made = profile(
        A,
        "Patient",
        element("Patient.identifier", min=1, slicing={"discriminator": [{"type": "value", "path": "system"}]}),
        element("Patient.identifier.value", min=1),
        element("Patient.identifier:one"),
        element("Patient.identifier:one.system", fixedUri="http://one"),
    )
    elements = Snapshots(catalog([made])).of(A).elements
    assert elements["Patient.identifier:one"]["min"] == 0
    assert elements["Patient.identifier:one"]["path"] == "Patient.identifier"
    assert "slicing" not in elements["Patient.identifier:one"]
    assert elements["Patient.identifier:one.value"]["min"] == 1
    assert "fixedUri" not in elements["Patient.identifier.system"]


def test_a_reslice_inherits_from_its_slice() -> None:
    by_use = {"discriminator": [{"type": "value", "path": "use"}]}
    made = profile(
        A,
        "Patient",
        element("Patient.identifier", slicing={"discriminator": [{"type": "value", "path": "system"}]}),
        element("Patient.identifier:one", max="3", slicing=by_use),
        element("Patient.identifier:one/old", max="1"),
        element("Patient.identifier:one/new"),
    )
    elements = Snapshots(catalog([made])).of(A).elements
    assert elements["Patient.identifier:one/old"]["max"] == "1"
    assert elements["Patient.identifier:one/new"]["max"] == "3"


def test_a_type_of_a_choice_may_be_named_without_a_slice() -> None:
    made = profile(A, "Observation", element("Observation.valueQuantity.code", min=1))
    elements = Snapshots(catalog([made])).of(A).elements
    assert elements["Observation.value[x]:valueQuantity"]["type"] == [{"code": "Quantity"}]
    assert elements["Observation.value[x]:valueQuantity.code"]["min"] == 1
    assert elements["Observation.value[x]"]["type"] == [{"code": "Quantity"}]


def test_several_types_of_a_choice_may_be_named_so() -> None:
    made = profile(
        A, "Observation", element("Observation.valueString", maxLength=3), element("Observation.valueQuantity")
    )
    elements = Snapshots(catalog([made])).of(A).elements
    assert [t["code"] for t in elements["Observation.value[x]"]["type"]] == ["Quantity", "string"]
    assert elements["Observation.value[x]:valueString"]["maxLength"] == 3


def test_a_slice_name_on_what_does_not_repeat_is_a_name_for_it() -> None:
    made = profile(A, "Patient", element("Patient.birthDate:birth", min=1))
    elements = Snapshots(catalog([made])).of(A).elements
    assert elements["Patient.birthDate"]["min"] == 1
    assert "Patient.birthDate:birth" not in elements


def test_ids_are_made_from_paths_and_slice_names_where_they_are_missing() -> None:
    made = profile(
        A,
        "Patient",
        element("Patient.identifier", slicing={"discriminator": [{"type": "value", "path": "system"}]}),
        element("Patient.identifier:one", max="1"),
        element("Patient.identifier:one.system", min=1),
    )
    for stated in made["differential"]["element"]:
        del stated["id"]
    assert Snapshots(catalog([made])).of(A).elements["Patient.identifier:one.system"]["min"] == 1


def test_content_references_are_unfolded_with_the_parts_of_what_they_name() -> None:
    made = profile(A, "Questionnaire", element("Questionnaire.item.item.text", min=1))
    elements = Snapshots(catalog([made])).of(A).elements
    assert elements["Questionnaire.item.item.text"]["min"] == 1
    assert elements["Questionnaire.item.text"]["min"] == 0


def test_a_snapshot_that_a_package_brings_is_taken_as_it_is() -> None:
    made = profile(A, "Patient")
    made["snapshot"] = {"element": [{"id": "Patient", "path": "Patient"}, element("Patient.name", min=1)]}
    assert list(Snapshots(catalog([made])).of(A).elements) == ["Patient", "Patient.name"]


def test_r4_types_are_structures_too() -> None:
    snapshots = Snapshots(catalog())
    assert snapshots.of(CORE + "Slot|4.0.1").type == "Slot"
    assert "Appointment.participant.actor" in snapshots.of(CORE + "Appointment").elements


def test_several_versions_stand_side_by_side() -> None:
    one = profile(A, "Patient", element("Patient.name", min=1), version="1")
    two = profile(A, "Patient", element("Patient.name", min=2), version="2")
    snapshots = Snapshots(catalog([one, two]))
    assert snapshots.of(A + "|2").elements["Patient.name"]["min"] == 2
    assert snapshots.of(A + "|1").elements["Patient.name"]["min"] == 1


def test_a_profile_cannot_allow_what_its_base_does_not() -> None:
    base = profile(B, "Patient", element("Patient.name", min=1, max="2"))
    loose = profile(A, "Patient", element("Patient.name", min=0, max="*"), element("Patient.gender", max="3"), base=B)
    elements = Snapshots(catalog([base, loose])).of(A).elements
    assert [(elements[e]["min"], elements[e]["max"]) for e in ("Patient.name", "Patient.gender")] == [
        (1, "2"),
        (0, "1"),
    ]


def packages(**wanted: str) -> list[Package]:
    """`base` in versions 1 and 2, whose profile B wants as many names, and `one`, `two`, … that depend on `wanted`,
    with a profile of that name over B."""

    def package(name: str, version: str, structure: dict[str, Any], **depends: str) -> Package:
        where = {("StructureDefinition", structure["url"]): f"{name}.json"}
        return Package(name, version, depends, (structure,), where)

    bases = [
        package("base", v, profile(B, "Patient", element("Patient.name", min=int(v[0])), version=v))
        for v in ("2.0.0", "1.0.0")
    ]
    further = [
        package(name, "1.0.0", profile(URL + name, "Patient", element("Patient.gender", min=1), base=B), base=version)
        for name, version in wanted.items()
    ]
    return [*bases, *further]


@pytest.mark.parametrize(("wanted", "names"), [("1.0.0", 1), ("2.0.0", 2), ("1.0.x", 1), ("latest", 2), ("3.0.0", 2)])
def test_a_base_without_version_is_the_one_that_the_package_depends_on(wanted: str, names: int) -> None:
    snapshots = Snapshots(Catalog(load(), installed=packages(guide=wanted)))
    assert snapshots.of(URL + "guide").elements["Patient.name"]["min"] == names


def test_a_package_means_its_own_definitions_and_those_of_what_it_depends_on_indirectly() -> None:
    first = packages(guide="1.0.0")
    over = profile(A, "Patient", element("Patient.birthDate", min=1), base=B)
    link = profile(URL + "link", "Basic", element("Basic.subject", type=[{"code": "Reference", "targetProfile": [B]}]))
    top = Package("top", "1", {"guide": "1.0.0"}, (over, link), {("StructureDefinition", A): "top.json"})
    snapshots = Snapshots(Catalog(load(), installed=[*first, top]))
    assert snapshots.of(A).elements["Patient.name"]["min"] == 1
    assert snapshots.of(URL + "link").elements["Basic.subject"]["type"][0]["targetProfile"] == [B + "|1.0.0"]
    sibling = profile(A, "Patient", element("Patient.birthDate", min=1), base=B, version="1.0.0")
    own = replace(first[1], resources=(*first[1].resources, sibling))
    assert Snapshots(Catalog(load(), installed=[first[0], own])).of(A).elements["Patient.name"]["min"] == 1


@pytest.mark.parametrize(
    ("structures", "texts"),
    [
        ([], ["http://example.org/StructureDefinition/a", "no installed package defines"]),
        ([profile(A, "Patient", base=B)], ["test.json", "baseDefinition", B]),
        ([profile(A, "Observation", base=CORE + "FiveWs")], ["test.json", "FiveWs", "part of R4"]),
        ([profile(A, "Patient", base=B), profile(B, "Patient", base=A)], ["form a circle", f"{A} -> {B} -> {A}"]),
        ([profile(A, "Patient", base=A)], ["form a circle", f"{A} -> {A}"]),
        ([profile(A, "Patient", base=None)], ["test.json", "baseDefinition", "missing"]),
        ([{**profile(A, "Patient", base=B), "snapshot": {"element": [element("Patient")]}}], ["test.json", B]),
        ([profile(A, "Patient", element("Patient.nothing", min=1))], ["Patient.nothing", "no such element"]),
        ([profile(A, "Patient", element("Patient.name:one", min=1))], ["Patient.name:one", "no slicing"]),
        (
            [profile(A, "Observation", element("Observation.value[x].code", min=1))],
            ["Observation.value[x]", "single type"],
        ),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(structures: list[dict[str, object]], texts: list[str]) -> None:
    with pytest.raises(StartupError) as refusal:
        Snapshots(catalog(structures)).of(A)
    for text in texts:
        assert text in str(refusal.value)
