"""The tool that makes the tables, on a small package of its own."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from fhirstore.definitions.core import DATA, load
from fhirstore.definitions.model import SearchParameterDef

TOOL = Path(__file__).parents[2] / "tools" / "build_definitions.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_definitions", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameter(id: str, **more: Any) -> dict[str, Any]:
    url = f"http://hl7.org/fhir/SearchParameter/{id}"
    return {"id": id, "url": url, "code": id, "name": id, "type": "token", "base": ["Slot"], **more}


def test_the_tables_are_committed_and_small() -> None:
    sizes = {path.name: path.stat().st_size for path in DATA.iterdir()}
    assert set(sizes) == {
        f"{name}.json.gz"
        for name in (
            *("structures", "profiles", "search-parameters", "code-systems", "value-sets", "expansions"),
            *("compartments", "operations", "concept-definitions", "concept-maps"),
        )
    }
    assert sum(sizes.values()) < 1_250_000


def test_writing_a_table_twice_gives_the_same_bytes(tool: ModuleType, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        tool.write(folder, "table", {"a": [1, "é"]})
    assert (first / "table.json.gz").read_bytes() == (second / "table.json.gz").read_bytes()


def test_only_conformance_resources_of_the_package_itself_are_read(tool: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "core.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("package/ValueSet-a.json", "package/openapi/ValueSet-b.json", "package/package.json"):
            content = {"resourceType": "ValueSet", "url": name} if "ValueSet" in name else {"name": "x"}
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert list(tool.read_core(path)["ValueSet"]) == ["package/ValueSet-a.json"]


def test_search_parameters_without_expression_and_illustrations_are_left_out(tool: ModuleType) -> None:
    rows = tool.search_parameters(
        [parameter("z", expression="Slot.end"), parameter("none"), parameter("example-a", expression="Slot.start")]
    )
    assert [row["code"] for row in rows] == ["z"]


def test_a_row_holds_what_differs_from_the_defaults_and_reads_back_equal(tool: ModuleType) -> None:
    rows = tool.search_parameters([parameter("p", expression="Slot.end", target=["Patient"], multipleOr=False)])
    assert set(rows[0]) == {"url", "code", "name", "type", "bases", "expression", "targets", "multiple_or"}
    read = msgspec.json.decode(json.dumps(rows[0]), type=SearchParameterDef)
    assert (read.targets, read.multiple_or, read.multiple_and) == (("Patient",), False, True)


def test_concepts_lose_definitions_and_dates_but_not_what_filters_need(tool: ModuleType) -> None:
    properties = [{"code": "deprecationDate", "valueDateTime": "2000"}, {"code": "parent", "valueCode": "p"}]
    system = {
        "url": "urn:s",
        "content": "complete",
        "text": {"div": "<div/>"},
        "concept": [{"code": "c", "display": "C", "definition": "long", "property": properties}],
    }
    assert tool.code_systems([system]) == {
        "urn:s": {
            "url": "urn:s",
            "content": "complete",
            "concept": [{"code": "c", "display": "C", "property": [properties[1]]}],
        }
    }


def test_the_tables_know_a_type_for_every_base_of_a_search_parameter() -> None:
    core = load()
    assert all(core.node(base) for p in core.search_parameters().values() for base in p.bases)
