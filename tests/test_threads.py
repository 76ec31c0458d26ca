"""Classes are described to msgspec before there are threads (docs/architecture.md, Threads)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    file
    for place in ("src", "plugins")
    for file in sorted((ROOT / place).rglob("*.py"))
    if "tests" not in file.relative_to(ROOT).parts
]
PLAIN = {"dict", "list", "tuple", "set", "frozenset", "str", "int", "float", "bool", "Any", "msgspec"}
"""What types without a class of ours are made of; msgspec: Raw."""

FIRST_USE = """
import importlib, sys, threading
from fhirstore.terminology import code_systems

resource = {"url": "u", "filter": [{"code": "f"}], "concept": [{"code": "a", "designation": [{"value": "A"}]}]}
sys.setswitchinterval(1e-6)
for _ in range(200):
    importlib.reload(code_systems)
    barrier = threading.Barrier(6)
    def use():
        barrier.wait()
        code_systems.CodeSystem(resource)
    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def described(type: ast.expr, known: set[str]) -> bool:
    return all(not isinstance(node, ast.Name) or node.id in PLAIN | known for node in ast.walk(type))


def uses(tree: ast.AST, function: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("msgspec.json.") == function:
            yield node


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_class_is_described_when_its_module_is_imported(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"))
    decoders = [one for statement in tree.body if not isinstance(statement, ast.FunctionDef | ast.ClassDef)
                for one in uses(statement, "Decoder")]  # fmt: skip
    known = {node.id for one in decoders for arg in one.args for node in ast.walk(arg) if isinstance(node, ast.Name)}
    for one in uses(tree, "Decoder"):
        assert one in decoders or all(described(arg, set()) for arg in one.args), f"line {one.lineno}: Decoder"
    for one in uses(tree, "decode"):
        assert all(described(k.value, set()) for k in one.keywords if k.arg == "type"), f"line {one.lineno}: decode"
    for one in uses(tree, "msgspec.convert"):
        assert described(one.args[1], known), f"line {one.lineno}: convert"


def test_threads_that_use_a_class_for_the_first_time_at_once_do_no_harm() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
