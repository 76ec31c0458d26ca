"""tools/check_size.py, on this tree and on trees with violations."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.tool import load_tool

check_size = load_tool("check_size")


def source(root: Path, text: str) -> Path:
    file = root / "src" / "a.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return root


def test_no_file_and_no_function_is_too_long_that_is_not_listed() -> None:
    assert check_size.problems(check_size.too_long()) == []


@pytest.mark.parametrize(("lines", "found"), [(400, {}), (401, {"src/a.py": 401})])
def test_files_have_at_most_400_lines(lines: int, found: dict[str, int], tmp_path: Path) -> None:
    assert check_size.too_long(source(tmp_path, "x = 1\n" * lines)) == found


@pytest.mark.parametrize(("lines", "found"), [(39, {}), (40, {"src/a.py::A.f": 41})])
def test_functions_have_at_most_40_lines(lines: int, found: dict[str, int], tmp_path: Path) -> None:
    text = "class A:\n    @staticmethod\n    def f():\n" + "        x = 1\n" * lines
    assert check_size.too_long(source(tmp_path, text)) == found


def test_nested_functions_count_for_the_outer_one_too(tmp_path: Path) -> None:
    text = "def f():\n    def g():\n" + "        x = 1\n" * 40
    assert check_size.too_long(source(tmp_path, text)) == {"src/a.py::f": 42, "src/a.py::f.g": 41}


def test_the_docstring_does_not_count() -> None:
    tree = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n')
    assert check_size.length(tree.body[0]) == 2


def test_a_violation_is_one_line() -> None:
    assert check_size.problems({**dict.fromkeys(check_size.PENDING, 50), "src/a.py::f": 41}) == [
        "src/a.py::f has 41 lines"
    ]


def test_a_listed_place_that_is_short_enough_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_size, "PENDING", frozenset(("src/a.py",)))
    assert check_size.problems({}) == ["src/a.py is listed, but is not too long: remove it"]
