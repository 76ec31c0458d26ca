"""Lists the texts that clients may read and that have no French; python tools/messages.py, exit status 1 where there
are any.

Looked at is every string of several words in the rooms that answer requests, f-strings with {0}, {1}… for what is put
in, but documentation, logs and start-up errors. NOT_MESSAGES names the rest. So a new message cannot be forgotten:
tests/test_messages.py does the same.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "fhirstore"
CATALOGUE = SRC / "messages" / "fr.txt"
ROOMS = (
    "capability/operations.py", "fhirpath/operators.py", "fhirpath/paths.py", "fhirpath/scalars.py",
    "fhirpath/temporal.py", "fhirpath/values.py", "formats", "errors.py", "http", "interactions", "search", "store",
    "terminology", "tls/certificates.py", "tls/subject.py", "validation",
)  # fmt: skip
"""Whose texts reach clients."""

NOT_MESSAGES = (
    # HTTP
    "text/plain; version", "GET, HEAD, POST", "ETag, Last-Modified", "204 No Content", "304 Not Modified",
    # /metrics
    "page {0}", "The version that runs.", "Whether the store can be read and written",
    "Jobs that have not been done", "Age of the oldest job", "Jobs done.", "Failed attempts",
    # /jobs (translated in fr.po), and errors of jobs for operators
    "No jobs.", "Next attempt", "Last error", "{done} done, ", "and {left} others",
    "\nbody{font", "<!doctype html>", "This server has other search parameters.", "Index entries for new",
    # names of HTML
    "a abbr acronym", "abbr accesskey",
    # said by a plugin's author or at the start only
    "parameter {0} has neither type nor part", "out parameters that", "there is no function", "{0} arguments",
    "{0} wants a text", "{0} is no element of {1}", "a literal that is no text", "+ wants two numbers",
    # an expression
    "max.empty() or max",
    # parts of texts that are looked at otherwise
    "{0} of {1}", " [profile of {0}]", " in {0}]", "DOCTYPE is not allowed", "{0}/{1}: expected",
    "{0} is held by", "the record {0} has changed", "the resources that match on {0} have",
)  # fmt: skip
"""How texts begin that no client reads."""

FOREIGN = {
    "day is out of range for month", "month must be in 1..12", "hour must be in 0..23", "minute must be in 0..59",
    "a string", "a number", "required, but missing", "; expected: {0}", "{0} and {1}", "{0} or {1}",
    "give _has:Type:reference-parameter:parameter=value",
}  # fmt: skip
"""What has a translation without being such a text: Python's own messages, single words, what is put together."""

_SILENT = {"StartupError", "ConfigurationError", "compile", "getLogger"}
_LOUD = {"TooComplex", "TooLarge", "Unavailable", "TimedOut"}
"""In the store only these tell clients something; all else there are queries and reports to commands."""
_LOGS = {"log", "warnings"}
_PROSE = re.compile(r"[A-Za-z]{2,}[,;:]? [a-zA-Z]{2,}|[a-z]{2,}:? \{\d|\}[,;:]? [a-z]{2,}")


def untranslated(known: set[str], root: Path = SRC, rooms: tuple[str, ...] = ROOMS) -> Iterator[str]:
    """A line for each text that is not among `known`."""
    for file in sources(root, rooms):
        for line, text in templates(file):
            if text not in known and not text.startswith(NOT_MESSAGES):
                yield f"{file.relative_to(root)}:{line}: {text}"


def all_texts(root: Path = SRC, rooms: tuple[str, ...] = ROOMS) -> set[str]:
    return {text for file in sources(root, rooms) for _, text in templates(file)}


def sources(root: Path, rooms: tuple[str, ...]) -> list[Path]:
    places = (root / room for room in rooms)
    return sorted(f for place in places for f in ([place] if place.is_file() else place.rglob("*.py")))


def templates(file: Path) -> Iterator[tuple[int, str]]:
    """(line, template) of each text in a module that may be a message."""
    tree = ast.parse(file.read_text("utf-8"))
    if "store" not in file.relative_to(ROOT).parts:
        yield from _texts(tree)
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _LOUD:
            yield from _texts(node)


def _texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # documentation
    if isinstance(node, ast.Call) and _is_silent(node.func):
        return
    if isinstance(node, ast.JoinedStr | ast.Constant):
        text = template(node)
        if text is not None and _PROSE.search(text):
            yield node.lineno, text
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for part in parts:
            if isinstance(part, ast.FormattedValue):
                yield from _texts(part.value)
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _is_silent(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        owner = function.value
        return function.attr in _SILENT or (isinstance(owner, ast.Name) and owner.id in _LOGS)
    return isinstance(function, ast.Name) and function.id in _SILENT


def template(node: ast.expr) -> str | None:
    """A text with {0}, {1}… for what is put in; None for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    out, n = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            out += str(part.value)
        else:
            out, n = f"{out}{{{n}}}", n + 1
    return out


def translated(catalogue: Path = CATALOGUE) -> set[str]:
    """The English texts of a catalogue (this tool runs without an installation)."""
    return {line[2:] for line in catalogue.read_text("utf-8").splitlines() if line[:2] in ("> ", "+ ")}


if __name__ == "__main__":
    missing = list(untranslated(translated()))
    print("\n".join(missing) or "every message has its French")
    sys.exit(bool(missing))
