"""The snapshots made from the plugin's differentials are those of the guide, element by element.

Compared are cardinality, types, profiles and targets of types, aggregation, fixed values, patterns, bindings, maximum
lengths, invariants of the SAS and French layers, slicing and the order of elements. Documented differences:

- The guide's snapshots unfold some elements of which nothing is constrained (`UNFOLDED`): the French profiles, which
  could only be rebuilt, walk into them. Each of these is compared with the data type that it is unfolded from.
- They name versions of R4 itself (`…|4.0.1`), and say "sliced by url, open" of extensions where no slice is.
- They write the FHIRPath type `System.String` for ids and urls, and the whole canonical in content references.
- They repeat the invariants of R4 on each element; these belong to the types and are left out on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.shared import SHARED

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import Definitions
from fhirstore.definitions.packages import read_package
from fhirstore.validation.snapshot import CORE, Definition, Snapshots, core_elements

CONFORMANCE = SHARED / "sas" / "ig" / "conformance"
PACKAGE = Path(__file__).resolve().parents[2] / "plugins" / "sas" / "src" / "fhirstore_sas" / "package"
FILES = sorted(CONFORMANCE.glob("StructureDefinition-*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="../shared/sas/ig/conformance is not here")

# Parents that the guide unfolds without need, and the data type of their parts.
UNFOLDED = {"identifier": "Identifier", "type": "CodeableConcept", "coding": "Coding"}
BY_URL = {"discriminator": [("value", "url")], "ordered": False, "rules": "open"}


@pytest.fixture(scope="module")
def snapshots(core: Definitions) -> Snapshots:
    return Snapshots(Catalog(core, [read_package(PACKAGE)]))


def read(file: Path) -> dict[str, Any]:
    structure: dict[str, Any] = json.loads(file.read_bytes())
    return structure


def facts(element: Definition) -> dict[str, Any]:
    """What an element constrains, in one spelling."""
    out = {k: v for k, v in element.items() if k.startswith(("fixed", "pattern"))}
    out |= {k: element[k] for k in ("min", "max", "maxLength") if k in element}
    out["types"] = [type_facts(element["path"], t) for t in element.get("type", ())]
    out["content"] = element.get("contentReference", "").rpartition("#")[2]
    binding = element.get("binding", {})
    if "valueSet" in binding:
        out["binding"] = (binding["strength"], binding["valueSet"].removesuffix("|4.0.1"))
    if slicing := element.get("slicing"):
        found = {
            "discriminator": [(d["type"], d["path"]) for d in slicing["discriminator"]],
            "ordered": slicing.get("ordered", False),
            "rules": slicing["rules"],
        }
        if not (found == BY_URL and element["path"].endswith(("xtension",))):
            out["slicing"] = found
    out["invariants"] = sorted(
        (c["key"], c.get("expression"), c["severity"])
        for c in element.get("constraint", ())
        if not c.get("source", "").startswith(CORE) and c["key"] not in ("ele-1", "ext-1")
    )
    return out


def type_facts(path: str, declared: Mapping[str, Any]) -> tuple[str, list[str], list[str], list[str]]:
    code = declared["code"]
    if path.endswith((".id", ".url")) or code.startswith("http://hl7.org/fhirpath/"):
        code = "string"
    targets = [t.removesuffix("|4.0.1") for t in declared.get("targetProfile", ()) if t != CORE + "Resource"]
    return code, declared.get("profile", []), targets, declared.get("aggregation", [])


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem.partition("-")[2])
def test_a_snapshot_holds_the_elements_of_the_guide_in_their_order(file: Path, snapshots: Snapshots) -> None:
    official = read(file)
    ours = list(snapshots.of(official["url"]).elements)
    theirs = [e["id"] for e in official["snapshot"]["element"]]
    assert ours == [id for id in theirs if id in ours]
    for id in theirs:
        if id not in ours:
            names = [part.partition(":")[0] for part in id.split(".")]
            assert names[-2] in UNFOLDED, id


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem.partition("-")[2])
def test_each_element_constrains_what_that_of_the_guide_does(
    file: Path, snapshots: Snapshots, core: Definitions
) -> None:
    official = read(file)
    elements = snapshots.of(official["url"]).elements
    differences = []
    for theirs in official["snapshot"]["element"]:
        ours = elements.get(theirs["id"])
        if ours is None:
            *_, parent, name = theirs["path"].split(".")
            ours = core_elements(core, UNFOLDED[parent])[f"{UNFOLDED[parent]}.{name}"]
        if facts(ours) != facts(theirs):
            differences.append((theirs["id"], facts(ours), facts(theirs)))
    assert differences == []


def test_the_comparison_sees_a_difference_in_each_fact() -> None:
    element = {
        "path": "A.b",
        "min": 0,
        "max": "1",
        "type": [{"code": "Reference", "targetProfile": ["http://x"]}],
        "binding": {"strength": "required", "valueSet": "http://v"},
    }
    for change in (
        {"min": 1},
        {"max": "*"},
        {"maxLength": 5},
        {"fixedCode": "a"},
        {"patternCode": "a"},
        {"type": [{"code": "Reference", "targetProfile": ["http://y"]}]},
        {"type": [{"code": "Reference", "targetProfile": ["http://x"], "aggregation": ["contained"]}]},
        {"binding": {"strength": "extensible", "valueSet": "http://v"}},
        {"slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "closed"}},
        {"constraint": [{"key": "k", "severity": "error", "expression": "true"}]},
    ):
        assert facts({**element, **change}) != facts(element), change
