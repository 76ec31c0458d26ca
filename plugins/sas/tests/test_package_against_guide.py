"""Our differentials state what the guide's snapshots hold, element by element."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fhirstore_sas
from fhirstore.definitions.packages import read_package

LATEST, PREVIOUS = ({r["url"]: r for r in read_package(path).resources} for path in fhirstore_sas.packages())
RESOURCES = LATEST
Facts = dict[str, Any]

# The available FR core data was rebuilt and lacks these two, which the SAS snapshots confirm.
BEYOND_FR_CORE = {"Location.managingOrganization", "Appointment.extension:appointmentOperator.value[x]:valueReference"}


def read(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    found = (json.loads(f.read_bytes()) for f in folder.glob(f"{kind}-*.json"))
    return {r["url"]: r for r in found}


def facts(element: dict[str, Any]) -> Facts:
    """What an element constrains, without wording."""
    out: Facts = {n: v for n, v in element.items() if n.startswith(("fixed", "pattern")) or n == "maxLength"}
    out |= {n: element[n] for n in ("min", "max", "type") if n in element}
    if "valueSet" in element.get("binding", {}):
        out["binding"] = (element["binding"]["strength"], element["binding"]["valueSet"])
    if "slicing" in element:
        out["slicing"] = (element["slicing"]["discriminator"], element["slicing"]["rules"])
    if element.get("mustSupport"):
        out["mustSupport"] = True
    return out


def elements(structure: dict[str, Any], view: str = "differential") -> dict[str, Facts]:
    return {e["id"]: facts(e) for e in structure.get(view, {}).get("element", ())}


@pytest.fixture(scope="module")
def official(guide: Path) -> dict[str, dict[str, Any]]:
    return read(guide / "conformance", "StructureDefinition") | read(guide / "fr-core", "StructureDefinition")


def test_profiles_and_extensions_are_those_of_the_guide(official: dict[str, dict[str, Any]]) -> None:
    ours = {u: r for u, r in RESOURCES.items() if r["resourceType"] == "StructureDefinition"}
    heads = ("name", "status", "kind", "abstract", "type", "baseDefinition", "derivation", "context")
    assert ours.keys() == official.keys()
    for url, theirs in official.items():
        assert {h: ours[url].get(h) for h in heads} == {h: theirs.get(h) for h in heads}, url


def test_what_we_state_is_what_the_snapshots_hold(official: dict[str, dict[str, Any]]) -> None:
    wrong = []
    for url, theirs in official.items():
        snapshot = elements(theirs, "snapshot") or elements(theirs)
        partial = "snapshot" not in theirs
        for id, ours in elements(RESOURCES[url]).items():
            if partial and id in BEYOND_FR_CORE:
                continue
            for name, fact in ours.items():
                if partial and name in ("min", "max") and name not in snapshot[id]:
                    continue
                if snapshot.get(id, {}).get(name) != fact:
                    wrong.append((url, id, name, fact, snapshot.get(id, {}).get(name)))
    assert wrong == []


def test_what_the_guide_states_we_state_too(official: dict[str, dict[str, Any]]) -> None:
    missing = []
    for url, theirs in official.items():
        ours = elements(RESOURCES[url])
        for id, stated in elements(theirs).items():
            missing += [(url, id, name) for name, fact in stated.items() if ours.get(id, {}).get(name) != fact]
    assert missing == []


def test_what_1_1_0_states_otherwise_is_what_we_state_of_it(guide: Path) -> None:
    theirs = read(guide / "previous-1.1.0", "StructureDefinition")
    ours = {u: r for u, r in PREVIOUS.items() if r["resourceType"] == "StructureDefinition"}
    bundle = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/sas-cpts-bundle-aggregator"
    assert ours.keys() == theirs.keys() | {bundle}
    for url, structure in theirs.items():
        mine = elements(ours[url])
        for id, stated in elements(structure).items():
            assert {name: mine[id].get(name) for name in stated} == stated, (url, id)
        assert elements(ours[url]).keys() == elements(RESOURCES[url]).keys() - {"Appointment.created"}
    changed = {id for id, f in elements(ours[bundle]).items() if f != elements(RESOURCES[bundle])[id]}
    assert changed == {"Bundle.entry:organizationAgregateurCPTS.resource"}


def test_every_cardinality_that_differs_from_r4_is_stated(official: dict[str, dict[str, Any]]) -> None:
    """In the profile, its parent, or the French type of the element."""
    missing = []
    for url, theirs in official.items():
        if "snapshot" not in theirs or theirs["type"] == "Extension":
            continue
        stated = elements(RESOURCES[url])
        parent = RESOURCES.get(theirs["baseDefinition"])
        inherited = elements(parent) if parent else {}
        for element in theirs["snapshot"]["element"]:
            id, base = element["id"], element.get("base", {})
            if "." not in id or (element["min"], element["max"]) == (base.get("min"), base.get("max")):
                continue
            known = {**inherited.get(id, {}), **stated.get(id, {})}
            unsliced = {**inherited.get(_unsliced(id), {}), **stated.get(_unsliced(id), {})}
            changed = [bound for bound in ("min", "max") if element[bound] != base.get(bound)]
            missing += [(url, id, b) for b in changed if known.get(b, unsliced.get(b)) != element[b]]
    assert [m for m in missing if not m[1].endswith((".url", ":valueReference", ".value[x]"))] == []


def _unsliced(id: str) -> str:
    return ".".join(part.partition(":")[0] for part in id.split("."))


def test_invariants_are_those_of_the_guide(official: dict[str, dict[str, Any]]) -> None:
    def invariants(structure: dict[str, Any]) -> set[tuple[str, str, str]]:
        return {
            (e["id"], c["key"], c["expression"])
            for e in structure["differential"]["element"]
            for c in e.get("constraint", ())
        }

    for url, theirs in official.items():
        assert invariants(RESOURCES[url]) == invariants(theirs), url


@pytest.mark.parametrize("folder", ["conformance", "fr-core", "terminology"])
def test_value_sets_hold_the_codes_of_the_guide(guide: Path, folder: str) -> None:
    def codes(value_set: dict[str, Any]) -> set[tuple[str, str | None]]:
        return {
            (include["system"], concept["code"])
            for include in value_set["compose"]["include"]
            for concept in include.get("concept", [{"code": None}])
        }

    theirs = read(guide / folder, "ValueSet")
    assert theirs
    for url, value_set in theirs.items():
        if "JDV_J239" not in url:  # bound by nothing
            assert codes(RESOURCES[url]) == codes(value_set), url


@pytest.mark.parametrize("folder", ["conformance", "fr-core", "terminology"])
def test_code_systems_hold_only_codes_of_the_guide(guide: Path, folder: str) -> None:
    for url, theirs in read(guide / folder, "CodeSystem").items():
        ours = RESOURCES.get(url)
        if ours is not None:
            codes = {c["code"] for c in ours.get("concept", ())}
            known = {c["code"] for c in theirs["concept"]}
            assert codes == known if ours["content"] == "complete" else codes <= known, url


def test_search_parameters_are_those_of_the_guide(guide: Path) -> None:
    for url, theirs in read(guide / "conformance", "SearchParameter").items():
        ours = RESOURCES[url]
        for name in ("name", "code", "base", "type", "multipleOr", "multipleAnd", "comparator"):
            assert ours.get(name) == theirs.get(name), (url, name)
        assert ours["expression"].removeprefix("Slot.") == theirs["expression"].removeprefix("Slot.")


def test_capability_statements_declare_what_the_guide_declares(guide: Path) -> None:
    for url, theirs in read(guide / "conformance", "CapabilityStatement").items():
        ours = RESOURCES[url]
        assert (ours["kind"], ours["status"], ours["fhirVersion"]) == ("requirements", "draft", "4.0.1")
        assert ours["rest"][0]["mode"] == theirs["rest"][0]["mode"]
        mine = {r["type"]: r for r in ours["rest"][0]["resource"]}
        for resource in theirs["rest"][0]["resource"]:
            own = mine[resource["type"]]
            assert own["profile"] == resource["profile"]
            assert {i["code"] for i in own["interaction"]} == {i["code"] for i in resource["interaction"]}
            for name in ("searchInclude", "searchRevInclude"):
                assert set(own.get(name, ())) >= set(resource.get(name, ())), (url, resource["type"], name)
            definitions = {p.get("definition") for p in own["searchParam"]}
            assert definitions >= {p.get("definition") for p in resource.get("searchParam", ())}, (url, own["type"])
            for flag in ("conditionalUpdate", "updateCreate"):
                assert own.get(flag) == resource.get(flag)
