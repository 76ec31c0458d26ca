"""What plugins may import is complete and loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

from fhirstore import plugins
from fhirstore.errors import FhirError, Issue
from fhirstore.model import conditions
from fhirstore.plugins import hookspecs


def test_all_conditions_can_be_imported_from_plugins() -> None:
    found = {
        name for name, v in vars(conditions).items() if isinstance(v, type) and issubclass(v, conditions.Condition)
    }
    assert found <= set(plugins.__all__)


def test_all_dataclasses_of_the_hooks_can_be_imported_from_plugins() -> None:
    defined = {
        name for name, v in vars(hookspecs).items() if isinstance(v, type) and v.__module__ == hookspecs.__name__
    }
    assert defined
    assert defined <= set(plugins.__all__)


def test_every_exported_name_exists_and_is_the_thing_itself() -> None:
    assert all(hasattr(plugins, name) for name in plugins.__all__)
    assert (plugins.Issue, plugins.FhirError) == (Issue, FhirError)


def test_importing_the_surface_loads_no_typed_models_and_no_web_framework() -> None:
    code = "import sys, fhirstore.plugins, fhirstore.plugins.typed; print([m for m in sys.modules if m in HEAVY])"
    code = code.replace("HEAVY", "('fhir.resources', 'pydantic', 'flask', 'sqlite3')")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
