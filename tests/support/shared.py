"""The official SAS material in ../shared. Tests that need it are skipped if it is absent."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
EXAMPLES = SHARED / "sas" / "ig" / "examples"

needs_examples = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="../shared/sas/ig/examples is not here")


@cache
def _texts() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.glob("*.json"))}


def example_names() -> list[str]:
    """File names of the official examples that are not Bundles. Empty if the material is absent."""
    return [name for name in _texts() if not name.startswith("Bundle-")]


def example(name: str) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(_texts()[name])
    return resource
