"""The worked examples of docs/contributing.md run as they are written."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.api import Api, Template
from support.packages import tgz

from fhirstore.http.app import make_app
from fhirstore.interactions.operations import table as operations
from fhirstore.interactions.routing import Route, Router
from fhirstore.interactions.table import ROUTES

PAGE = Path(__file__).parents[1] / "docs" / "contributing.md"


def block(heading: str) -> str:
    """The content of the code block with this info string."""
    found = re.search(rf"^```{re.escape(heading)}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None, heading
    return found[1]


def module(file: str, folder: Path) -> ModuleType:
    """The file of the page as an imported module."""
    path = folder / Path(file).name
    path.write_text(block(f"python file={file}"), "utf-8")
    spec = importlib.util.spec_from_file_location(f"contributing_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def line(table: str, names: dict[str, Any]) -> Any:
    """What the line of a table adds to it."""
    text = block(f"python line={table}").strip().rstrip(",")
    return eval(f"{{{text}}}" if text.startswith('"') else text, names)  # the text is ours


def test_an_interaction_is_one_file_and_one_line(tmp_path: Path) -> None:
    api = Template.make().fresh(tmp_path / "t.db")
    total = module("src/fhirstore/interactions/total.py", tmp_path)
    route = line("src/fhirstore/interactions/table.py", {"Route": Route, "Total": total.Total})
    server = replace(api.ctx, router=Router((*ROUTES, route)))
    extended = Api(make_app(server), server)
    extended.created({"resourceType": "Patient"})
    counted = {"resourceType": "Parameters", "parameter": [{"name": "total", "valueInteger": 1}]}
    assert extended.get("Patient/_total").get_json() == counted
    entry = {"request": {"method": "GET", "url": "Patient/_total"}}
    answer = extended.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}).get_json()
    assert answer["entry"][0]["resource"] == counted
    assert extended.get("Nothing/_total").status_code == 404
    assert api.get("Patient/_total").status_code == 404


def test_an_operation_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hello = module("src/fhirstore/interactions/operations/hello.py", tmp_path)
    added = line("src/fhirstore/interactions/operations/table.py", {**vars(operations), "hello": hello.hello})
    monkeypatch.setattr(operations, "BUILT_IN", {**operations.BUILT_IN, **added})
    resources = [json.loads(block(f"json {name}")) for name in ("definition", "statement")]
    package = tgz(tmp_path / "greeting.tgz", "example.greeting", "1.0.0", *resources)
    api = Template.make(plugins=(str(package),), capability=resources[1]["url"]).fresh(tmp_path / "t.db")
    answer = api.get("Patient/$hello?name=Anne").get_json()
    assert answer["parameter"] == [{"name": "greeting", "valueString": "Hello, Anne!"}]
