"""Brings the catalogues of translated messages up to date with the code: `make messages`.

New messages are added without a translation, those that are no longer used are dropped. With --check nothing is
written; each fault is printed, and the exit status is 1 if there are any: a message without a translation, an entry
that is obsolete or marked fuzzy, a translation with other fields than its message, and a text for clients that is no
`Message`.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from fhirstore.errors import StartupError
from fhirstore.messages.translations import fields, read_catalogue

ROOT = Path(__file__).resolve().parents[1]
KEYWORDS = {"Message": None, "plural": (1, 2)}
"""Calls whose literals are messages, as `pybabel extract --keyword` takes them."""


@dataclass(frozen=True)
class Project:
    """source: the package whose messages are extracted. catalogues: the folder of its .po files. modules: where all
    texts of several words are messages for clients, relative to `source`. exceptions: how the other texts in these
    modules begin."""

    source: Path
    catalogues: Path
    modules: tuple[str, ...]
    exceptions: tuple[str, ...] = ()


FHIRSTORE = Project(
    ROOT / "src" / "fhirstore",
    ROOT / "src" / "fhirstore" / "messages",
    (
        "capability/operations.py", "formats", "errors.py", "http", "interactions", "search", "store", "terminology",
        "tls/certificates.py", "tls/subject.py", "validation",
    ),
    (
        # HTTP headers
        "text/plain; version", "GET, HEAD, POST", "ETag, Last-Modified", "204 No Content", "304 Not Modified",
        # /metrics
        "page {}", "The version that runs.", "Whether the store can be written",
        "Seconds from now to the newest version",
        "Jobs that have not been done", "Age of the oldest job", "Jobs done.", "Failed attempts",
        # HTML pages
        "\nbody{font", "<!doctype html>",
        # records and titles of jobs, for operators
        "This server has other search parameters.", "Index entries for new search parameters",
        # names of HTML elements
        "a abbr acronym", "abbr accesskey",
        # texts of libraries, and parts of texts that are only compared
        "DOCTYPE is not allowed", " in {}]", "that is given", "max.empty() or max", "start.hasValue()",
        "whenHandedOver.empty()", "lastModified.exists()",
        # for authors of plugins, at start-up only
        "parameter {} has neither type nor part", "out parameters that", "there is no function", "{} arguments",
        "{} wants a text", "{} is no element of {}", "a literal that is no text", "+ wants two numbers",
    ),
)  # fmt: skip
SAS = Project(
    ROOT / "plugins" / "sas" / "src" / "fhirstore_sas", ROOT / "plugins" / "sas" / "src" / "fhirstore_sas", ()
)
PROJECTS = (FHIRSTORE, SAS)

_PRODUCERS = {"error": 2, "Issue": 2, "Unresolved": 0, "TooComplex": 0, "TooLarge": 0, "Unavailable": 0, "TimedOut": 0}
"""Function -> the position of its argument `diagnostics` or of the message that it passes on."""
_SILENT = {"StartupError", "ConfigurationError", "compile", "getLogger", "Message", "plural"}
_STORE_ERRORS = {"TooComplex", "TooLarge", "Unavailable", "TimedOut"}
"""The only classes of the store whose texts reach clients."""
_BLANK = "\n\n"
_LOGS = {"log", "warnings"}
_PROSE = re.compile(r"[A-Za-z]{2,}[,;:]? [a-zA-Z]{2,}|[a-z]{2,}:? \{\}|\}[,;:]? [a-z]{2,}")


def extracted(project: Project) -> Catalog:
    """The messages of the code, without translations."""
    catalogue = Catalog()
    method = [("**.py", "python")]
    found = extract_from_dir(project.source, method, keywords=KEYWORDS)
    for file, _, message, _, _ in sorted(found, key=lambda one: one[:2]):
        catalogue.add(message, locations=[(Path(file).as_posix(), None)])
    return catalogue


def updated(project: Project, file: Path) -> Catalog:
    """The catalogue `file` with the messages of the code. Raises StartupError."""
    catalogue = read_catalogue(file, file.stem)
    catalogue.update(extracted(project), no_fuzzy_matching=True)
    return catalogue


def update(project: Project) -> Iterator[Path]:
    """Writes the catalogues of a project; returns the files that changed."""
    for file in sorted(project.catalogues.glob("*.po")):
        old = file.read_text("utf-8")
        entries = io.BytesIO()
        write_po(entries, updated(project, file), 120, omit_header=True, sort_by_file=True, ignore_obsolete=True)
        new = f"{old.partition(_BLANK)[0].rstrip()}{_BLANK}{entries.getvalue().decode()}".rstrip() + "\n"
        if new != old:
            file.write_text(new, "utf-8")
            yield file


def faults(project: Project) -> Iterator[str]:
    """A line for each fault of the catalogues and of the code."""
    for file in sorted(project.catalogues.glob("*.po")):
        name = file.relative_to(ROOT)
        catalogue = updated(project, file)
        for entry in catalogue:
            if not entry.id:
                continue
            forms = (entry.string,) if isinstance(entry.string, str) else tuple(entry.string or ())
            if not all(forms) or not forms:
                yield f"{name}: {entry.id!r} has no translation"
            elif entry.fuzzy:
                yield f"{name}: {entry.id!r} is fuzzy"
            elif any(fields(form) != _fields(entry.id) for form in forms):
                yield f"{name}: the translation of {entry.id!r} has other fields"
        for entry in catalogue.obsolete.values():
            yield f"{name}: {entry.id!r} is obsolete"
    yield from plain_texts(project)


def _fields(id: str | tuple[str, ...] | list[str]) -> set[str]:
    return set().union(*map(fields, (id,) if isinstance(id, str) else id))


def plain_texts(project: Project) -> Iterator[str]:
    """The texts for clients that are no `Message`."""
    for file in sorted(project.source.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        name = file.relative_to(project.source)
        found = set(_diagnostics(tree))
        if any(name.is_relative_to(module) for module in project.modules):
            found |= set(_store_texts(tree) if name.parts[0] == "store" else _texts(tree))
        for line, text in sorted(found):
            if not text.startswith(project.exceptions):
                yield f"{name}:{line}: {text!r} is no Message"


def _diagnostics(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts that are passed as diagnostics."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        place = _PRODUCERS.get(_name(node.func))
        given = [k.value for k in node.keywords if k.arg == "diagnostics"]
        if place is not None and len(node.args) > place:
            given.append(node.args[place])
        for argument in given:
            yield from _plain(argument)


def _plain(node: ast.expr) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node.lineno, template(node) or ""
    elif isinstance(node, ast.IfExp):
        yield from _plain(node.body)
        yield from _plain(node.orelse)
    elif isinstance(node, ast.BinOp) or (isinstance(node, ast.Call) and _name(node.func) in ("format", "join")):
        yield node.lineno, ast.unparse(node)


def _store_texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in _STORE_ERRORS:
            yield from _texts(node)


def _texts(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Texts of several words that are neither documentation, nor logged, nor a `Message`."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and _is_silent(node.func):
        # What is passed to a Message is looked at, its templates are not.
        for child in (*node.args, *(k.value for k in node.keywords)):
            if not isinstance(child, ast.Constant) and _name(node.func) in KEYWORDS:
                yield from _texts(child)
        return
    text = template(node) if isinstance(node, ast.expr) else None
    if text is not None and _PROSE.search(text):
        yield node.lineno, text  # type: ignore[attr-defined]
    if isinstance(node, ast.JoinedStr):
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _texts(part.value)
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _is_silent(function: ast.expr) -> bool:
    owner = function.value if isinstance(function, ast.Attribute) else None
    return _name(function) in _SILENT or (isinstance(owner, ast.Name) and owner.id in _LOGS)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def template(node: ast.expr) -> str | None:
    """A literal with {} for each value of an f-string; None for other expressions."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="print faults, write nothing")
    check = parser.parse_args().check
    try:
        lines = [str(line) for project in PROJECTS for line in (faults(project) if check else update(project))]
    except StartupError as e:
        lines, check = [str(e)], True
    print("\n".join(lines) or "The catalogues are up to date.")
    return int(check and bool(lines))


if __name__ == "__main__":
    sys.exit(main())
