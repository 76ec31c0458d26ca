"""The targets of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_deep_tests_are_those_whose_number_of_cases_depends_on_the_target() -> None:
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    found = re.search(r"^DEEP_TESTS = (.*)$", text, re.MULTILINE)
    assert found is not None
    folders = (ROOT / "tests", ROOT / "plugins/sas/tests")
    files = (file for folder in folders for file in folder.rglob("test_*.py") if file != Path(__file__))
    sized = {str(f.relative_to(ROOT)) for f in files if "from support.sizes import" in f.read_text()}
    assert set(found[1].split()) == sized
