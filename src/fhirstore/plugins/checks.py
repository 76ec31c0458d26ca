"""Checks of a plugin when it is loaded: what it imports, and the signatures of its hooks.

Each refusal is a StartupError of one line that names the plugin, the fault, and what is allowed.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fhirstore.errors import StartupError

SURFACE = "fhirstore.plugins"
# Finds candidates without parsing every file: `from fhirstore… import …` and `import …, fhirstore…`.
_FROM = re.compile(r"\bfrom\s+(fhirstore(?:\.\w+)*)\s+import\s*(\([^)]*\)|[^\n;#]*)")
_IMPORT = re.compile(r"\bimport\s+[^\n;#(]*\bfhirstore\b")
_NAME = re.compile(r"(\w+)(?:\s+as\s+\w+)?")


def check_imports(plugin: str, module: str) -> None:
    """Raises StartupError if a file of the plugin imports a module of fhirstore other than `fhirstore.plugins`, or a
    name that `fhirstore.plugins` does not export. module: that of the entry point; all files of its top-level package
    are checked, without being imported."""
    top = module.partition(".")[0]
    if top == "fhirstore":
        return
    for file in _files(top):
        for line, imported in _forbidden(file):
            raise StartupError(
                f"{plugin}: {file}, line {line} imports {imported}. A plugin may import only the names of {SURFACE}; "
                "docs/plugins.md lists them."
            )


def _files(top: str) -> Iterator[Path]:
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return  # the import itself reports it
    if spec is None:
        return
    for folder in spec.submodule_search_locations or ():
        yield from sorted(Path(folder).rglob("*.py"))
    if not spec.submodule_search_locations and spec.origin and spec.origin.endswith(".py"):
        yield Path(spec.origin)


def _forbidden(file: Path) -> Iterator[tuple[int, str]]:
    """(line, import) of the imports that are not allowed."""
    text = file.read_text("utf-8", "replace")
    if "fhirstore" not in text or _is_allowed(text):
        return
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return  # the import itself reports it
    exported = _exported()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "fhirstore" and alias.name != SURFACE:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "fhirstore":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name != SURFACE and (node.module != SURFACE or alias.name not in exported):
                    yield node.lineno, name


def _is_allowed(text: str) -> bool:
    """Whether all candidates are allowed, as far as that is known without parsing the file."""
    if _IMPORT.search(_FROM.sub("", text)):
        return False
    exported = _exported()
    return all(
        module == SURFACE and exported.issuperset(_NAME.findall(re.sub(r"#[^\n]*", "", names)))
        for module, names in _FROM.findall(text)
    )


def _exported() -> frozenset[str]:
    from fhirstore import plugins  # not at import time: the surface is being imported then

    return frozenset(plugins.__all__)


def check_hooks(plugin: str, hooks: Mapping[str, Callable[..., Any]], known: Mapping[str, tuple[str, ...]]) -> None:
    """Raises StartupError for a function that is not a hook, or has an argument that the hook does not have.

    hooks: the functions by the names of their hooks. known: the arguments of all hooks."""
    for name, function in hooks.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"Did you mean {near[0]}? " if near else ""
            raise StartupError(f"{plugin}: {name} is not a hook. {advice}Hooks: {', '.join(sorted(known))}.")
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name not in known[name] or parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                allowed = ", ".join(known[name]) or "none"
                raise StartupError(f"{plugin}: hook {name} has no argument {str(parameter)!r}. Arguments: {allowed}.")
            if parameter.default is not parameter.empty:
                raise StartupError(f"{plugin}: argument {parameter.name!r} of hook {name} must not have a default.")


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the arguments of a hook's implementation, in order."""
    return tuple(inspect.signature(function).parameters)
