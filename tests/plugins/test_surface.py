"""The names that plugins may import are complete, documented, and load nothing heavy."""

from __future__ import annotations

import builtins
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhirstore import plugins
from fhirstore.errors import FhirError, Issue
from fhirstore.model import conditions
from fhirstore.plugins import hookspecs, model, operator

GUIDE = (Path(__file__).resolve().parents[2] / "docs/plugins.md").read_text("utf-8")
HOOKS = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "fhirstore_spec")}


def test_all_conditions_can_be_imported_from_plugins() -> None:
    found = {
        name for name, v in vars(conditions).items() if isinstance(v, type) and issubclass(v, conditions.Condition)
    }
    assert found <= set(plugins.__all__)


@pytest.mark.parametrize("module", [model, operator])
def test_all_classes_of_hook_arguments_can_be_imported_from_plugins(module: object) -> None:
    defined = {
        name
        for name, v in vars(module).items()
        if isinstance(v, type) and v.__module__ == module.__name__  # type: ignore[attr-defined]
    }
    assert defined
    assert defined <= set(plugins.__all__)


def names_in(annotation: str) -> Iterator[str]:
    for part in annotation.replace("[", " ").replace("]", " ").replace(",", " ").replace("|", " ").split():
        yield part.split(".")[-1]


@pytest.mark.parametrize("name", HOOKS)
def test_all_types_in_the_signature_of_a_hook_can_be_imported_from_plugins(name: str) -> None:
    known = {*plugins.__all__, *dir(builtins), *dir(typing), "Callable", "Event", "Group", ""}
    for parameter in inspect.signature(HOOKS[name]).parameters.values():
        assert {*names_in(str(parameter.annotation))} - {""} <= known


def test_every_exported_name_exists_and_is_the_thing_itself() -> None:
    assert all(hasattr(plugins, name) for name in plugins.__all__)
    assert (plugins.Issue, plugins.FhirError) == (Issue, FhirError)


@pytest.mark.parametrize("name", plugins.__all__)
def test_every_exported_name_is_documented(name: str) -> None:
    reference = GUIDE.partition("## Names to import")[2].partition("\n## ")[0]
    assert f"`{name}`" in reference or f"`{name}(" in reference


def test_the_guide_documents_no_name_that_is_not_exported() -> None:
    reference = GUIDE.partition("## Names to import")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in reference.splitlines() if line.startswith("| `")]
    documented = {part.split("(")[0] for row in rows for part in row.split("`")[1::2]}
    assert documented == set(plugins.__all__)


def test_importing_the_surface_loads_no_typed_models_and_no_web_framework() -> None:
    code = "import sys, fhirstore.plugins, fhirstore.plugins.typed; print([m for m in sys.modules if m in HEAVY])"
    code = code.replace("HEAVY", "('fhir.resources', 'pydantic', 'flask', 'sqlite3')")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
