"""Every hook is explained where it is defined and in docs/plugins.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirstore.plugins import hookspecs

GUIDE = (Path(__file__).resolve().parents[2] / "docs/plugins.md").read_text("utf-8")
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "fhirstore_spec")]


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_docstring_of_one_paragraph(name: str) -> None:
    described = getattr(hookspecs, name).__doc__ or ""
    assert len(described) > 40
    assert "\n\n" not in described.strip()


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_row_with_its_arguments_in_the_guide(name: str) -> None:
    code = getattr(hookspecs, name).__code__
    arguments = ", ".join(f"`{a}`" for a in code.co_varnames[: code.co_argcount]) or "none"
    assert f"\n| `{name}` | {arguments} | " in GUIDE


def test_the_guide_describes_no_hook_that_does_not_exist() -> None:
    hooks_part = GUIDE.partition("## Hooks")[2].partition("\n## ")[0]
    rows = [line.split("`")[1] for line in hooks_part.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(HOOKS)
