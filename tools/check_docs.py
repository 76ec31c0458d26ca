"""Checks the documentation: links resolve, every setting and command is described, nothing is left that must not be.

python tools/check_docs.py; exit status 1 and a line for each fault.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)

# What no file of the project says: unfinished work, paths of one machine, hosts of package registries.
_FORBIDDEN = (
    re.compile(r"\b(TODO|FIXME|XXX)\b"),
    re.compile(r"(?<![\w./-])/(work|root|home)/"),
    re.compile(r"(?<![\w./-])/tmp/\w"),
    re.compile(r"\b(pypi\.org|pythonhosted\.org|npmjs\.(org|com))\b"),
)
_TEXT = (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".http", ".in", "")


def main() -> int:
    files = _files()
    faults = [*_links(files), *_settings(), *_tests(files), *_words(files)]
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults in {len(files)} files" if faults else f"{len(files)} files are in order")
    return 1 if faults else 0


def _files() -> list[Path]:
    """The files under version control and those about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        found = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    return sorted(p for p in found if p.is_file() and p.suffix in _TEXT)


def _links(files: list[Path]) -> Iterator[str]:
    for file in files:
        if file.suffix != ".md":
            continue
        for link in _LINK.findall(_CODE.sub("", file.read_text("utf-8"))):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            name = file.relative_to(ROOT)
            if not target.exists() or not target.is_relative_to(ROOT):
                yield f"{name}: the link {link} leads nowhere"
            elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
                yield f"{name}: the link {link} names no heading of {target.name}"


def _anchors(file: Path) -> set[str]:
    headings = _HEADING.findall(_CODE.sub("", file.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def _settings() -> Iterator[str]:
    rows = dict(_ROW.findall((ROOT / "docs/settings.md").read_text("utf-8")))
    defaults = _defaults()
    for name, default in defaults.items():
        shown = "none" if default in (None, ()) else f"`{default}`"
        if name not in rows:
            yield f"docs/settings.md: the setting {name} is missing"
        elif f" {shown} " not in rows[name]:
            yield f"docs/settings.md: the default of {name} is {shown}"
    for name in rows.keys() - defaults.keys():
        yield f"docs/settings.md: there is no setting {name}"


def _defaults() -> dict[str, Any]:
    """The fields of Settings and their defaults, read from the source (this tool runs without an installation)."""
    tree = ast.parse((ROOT / "src/fhirstore/settings.py").read_text("utf-8"))
    body = next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    fields = [n for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.value]
    return {ast.unparse(n.target): eval(ast.unparse(n.value), {"__builtins__": {}}) for n in fields if n.value}


def _tests(files: list[Path]) -> Iterator[str]:
    """Tests that documents name are there."""
    named = [(file, *test) for file in files if file.suffix == ".md" for test in _TEST.findall(file.read_text("utf-8"))]
    by_name: dict[str, str] = {}
    for file in files if named else ():
        if file.name.startswith("test_") and file.suffix == ".py":
            by_name[file.name] = by_name.get(file.name, "") + file.read_text("utf-8")
    for file, module, test in named:
        if f"def {test}(" not in by_name.get(module, ""):
            yield f"{file.relative_to(ROOT)}: there is no test {module}::{test}"


def _words(files: list[Path]) -> Iterator[str]:
    for file in files:
        if file.name in ("check_docs.py", "test_docs.py"):  # they must say the words
            continue
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            for pattern in _FORBIDDEN:
                if found := pattern.search(line):
                    yield f"{file.relative_to(ROOT)}:{number}: {found[0]!r} must not stand here"


if __name__ == "__main__":
    sys.exit(main())
