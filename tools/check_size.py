"""Lists files over 400 lines and functions over 40 lines, and fails if there are any.

python tools/check_size.py [--all]

The lines of a function are counted from its `def` to its end, without its docstring. EXEMPT names generated and tabular
code, for which length says nothing. PENDING names what is still too long: the list only shrinks, an entry that is no
longer too long fails the check as well. --all lists the exempt and the pending ones too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "plugins/sas/src", "plugins/sas/tools", "plugins/sas/tests", "tools", "tests", "benchmarks")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40

EXEMPT: frozenset[str] = frozenset()
"""Generated and tabular code: "path" or "path::function"."""

PENDING: frozenset[str] = frozenset(
    (
        "plugins/sas/tools/terminology.py::_sas_sets",
        "plugins/sas/tests/test_booking.py",
        "plugins/sas/tests/test_relay_faults.py::test_kills_and_faults_lose_double_and_reorder_nothing",
        "plugins/sas/tests/test_searches.py",
        "tests/contract/generated.py::Generator._leaves",
        "tests/search/test_parse.py",
        "tests/store/test_migrate.py",
        "tests/support/sas_platform.py::handler",
        "tests/support/tls.py::proxy",
    )
)
"""Too long today: "path" or "path::function"."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Each function below the node, by its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield prefix + child.name, child
            yield from functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def length(function: Function) -> int:
    """Lines from `def` to the end, decorators and docstring excluded."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def too_long(root: Path = ROOT) -> dict[str, int]:
    """The lines of each file and function over the maximum."""
    found: dict[str, int] = {}
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            path, text = file.relative_to(root).as_posix(), file.read_text("utf-8")
            if (lines := text.count("\n")) > MAX_FILE_LINES:
                found[path] = lines
            for name, function in functions(ast.parse(text)):
                if (lines := length(function)) > MAX_FUNCTION_LINES:
                    found[f"{path}::{name}"] = lines
    return found


def problems(found: dict[str, int]) -> list[str]:
    """Each violation as one line."""
    listed = EXEMPT | PENDING
    lines = [f"{place} has {lines} lines" for place, lines in found.items() if place not in listed]
    return lines + [f"{place} is listed, but is not too long: remove it" for place in sorted(listed - found.keys())]


def main() -> int:
    found = too_long()
    if "--all" in sys.argv[1:]:
        for place, lines in found.items():
            kind = "exempt" if place in EXEMPT else "pending" if place in PENDING else "too long"
            print(f"{lines:6} {kind:9} {place}")
    wrong = problems(found)
    maxima = f"No other file over {MAX_FILE_LINES} lines, no other function over {MAX_FUNCTION_LINES}."
    print("\n".join(wrong) or f"{len(PENDING)} places are still too long. {maxima}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
