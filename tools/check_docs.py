"""Checks the documentation: links resolve, settings and tests exist, and no file contains forbidden words.

Usage: python tools/check_docs.py. Prints one line per problem and exits with status 1 if there are any.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
_SECTION = re.compile(r"^## (.+?) *$", re.MULTILINE)
_GROUP = re.compile(r"^ *# --- (.+) ---$")

# Unfinished work, paths of one machine, and hosts of package registries.
_FORBIDDEN = (
    re.compile(r"\b(TODO|FIXME|XXX)\b"),
    re.compile(r"(?<![\w./-])/(work|root|home)/"),
    re.compile(r"(?<![\w./-])/tmp/\w"),
    re.compile(r"\b(pypi\.org|pythonhosted\.org|npmjs\.(org|com))\b"),
)
_TEXT = (".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".http", ".in", "")


def main() -> int:
    files = _files()
    problems = [*_links(files), *_settings(), *_tests(files), *_words(files)]
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems in {len(files)} files" if problems else f"{len(files)} files are ok")
    return 1 if problems else 0


def _files() -> list[Path]:
    """The tracked files and the new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):  # not a git repository
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
                yield f"{name}: the target of the link {link} does not exist"
            elif anchor and target.suffix == ".md" and anchor not in _anchors(target):
                yield f"{name}: {target.name} has no heading for the link {link}"


def _anchors(file: Path) -> set[str]:
    headings = _HEADING.findall(_CODE.sub("", file.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


class Setting(NamedTuple):
    """A field of Settings. group: the heading above it in the source. is_described: whether a docstring follows it."""

    name: str
    default: Any
    group: str
    is_described: bool


def _settings() -> Iterator[str]:
    """docs/settings.md lists every setting with its default, in the section of its group."""
    text = (ROOT / "docs/settings.md").read_text("utf-8")
    rows = dict(_ROW.findall(text))
    sections = _sections(text)
    settings = _fields_of_settings()
    for setting in settings:
        name, default = setting.name, setting.default
        shown = "none" if default in (None, ()) else f"`{default}`"
        if not setting.is_described:
            yield f"src/fhirstore/settings.py: {name} has no description"
        if name not in rows:
            yield f"docs/settings.md: the setting {name} is missing"
        elif f" {shown} " not in rows[name]:
            yield f"docs/settings.md: the default of {name} is {shown}"
        elif setting.group and sections[name] != setting.group:
            yield f"docs/settings.md: {name} is in the section {sections[name]!r} instead of {setting.group!r}"
    known = {setting.name for setting in settings}
    for name, section in sections.items():
        if name not in known and section in {setting.group for setting in settings}:
            yield f"docs/settings.md: {name} is not a setting"


def _sections(text: str) -> dict[str, str]:
    """The section of each setting."""
    _, *parts = _SECTION.split(text)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {name: title for title, body in pairs for name, _ in _ROW.findall(body)}


def _fields_of_settings() -> list[Setting]:
    """The fields of Settings, read from the source, because this tool runs without an installation."""
    source = (ROOT / "src/fhirstore/settings.py").read_text("utf-8")
    groups = {n: found[1] for n, line in enumerate(source.splitlines(), 1) if (found := _GROUP.match(line))}
    body = next(n.body for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    fields = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            group = max((line for line in groups if line < node.lineno), default=0)
            described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            default = eval(ast.unparse(node.value), {"__builtins__": {}})
            fields.append(Setting(node.target.id, default, groups.get(group, ""), described))
    return fields


def _tests(files: list[Path]) -> Iterator[str]:
    """The tests named in documents exist."""
    named = [(file, *test) for file in files if file.suffix == ".md" for test in _TEST.findall(file.read_text("utf-8"))]
    by_name: dict[str, str] = {}
    for file in files if named else ():
        if file.name.startswith("test_") and file.suffix == ".py":
            by_name[file.name] = by_name.get(file.name, "") + file.read_text("utf-8")
    for file, module, test in named:
        if f"def {test}(" not in by_name.get(module, ""):
            yield f"{file.relative_to(ROOT)}: the test {module}::{test} does not exist"


def _words(files: list[Path]) -> Iterator[str]:
    for file in files:
        if file.name in ("check_docs.py", "test_docs.py"):  # they contain the words
            continue
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            for pattern in _FORBIDDEN:
                if found := pattern.search(line):
                    yield f"{file.relative_to(ROOT)}:{number}: {found[0]!r} is not allowed"


if __name__ == "__main__":
    sys.exit(main())
