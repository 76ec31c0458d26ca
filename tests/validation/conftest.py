"""The definitions and one validator for all tests of this package; `generate` is importable beside them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhirstore.definitions.core import Definitions, load
from fhirstore.errors import Issue
from fhirstore.validation.structure import StructureValidator

sys.path.insert(0, str(Path(__file__).parent))

Fault = tuple[str, str, str]


@pytest.fixture(scope="session")
def core() -> Definitions:
    return load()


@pytest.fixture(scope="session")
def validate(core: Definitions) -> Callable[[Any], list[Issue]]:
    return StructureValidator(core).validate


@pytest.fixture(scope="session")
def faults(validate: Callable[[Any], list[Issue]]) -> Callable[[Any], list[Fault]]:
    """(code, expression, diagnostics) of each error."""

    def check(resource: Any) -> list[Fault]:
        return [(i.code, i.expression[0], i.diagnostics) for i in validate(resource) if i.is_error]

    return check
