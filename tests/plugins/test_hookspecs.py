"""Every extension point is explained where it is defined and in docs/plugins.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirstore.plugins import hookspecs

GUIDE = Path(__file__).resolve().parents[2] / "docs/plugins.md"
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "fhirstore_spec")]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_docstring(name: str) -> None:
    assert len(getattr(hookspecs, name).__doc__ or "") > 20


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_row_in_the_guide(name: str) -> None:
    assert f"\n| `{name}` | " in GUIDE.read_text("utf-8")


def test_the_guide_tells_of_no_hook_that_does_not_exist() -> None:
    hooks_part = GUIDE.read_text("utf-8").partition("## Python hooks")[2]
    rows = [line.split("`")[1] for line in hooks_part.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(HOOKS)
