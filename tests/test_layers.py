"""The layers of docs/architecture.md: what each package may import, and that no modules import each other in a circle.

Imports for type checkers count like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

EVERYWHERE = {"fhirstore", "fhirstore.errors", "fhirstore.settings", "fhirstore.model"}
DEFINITIONS = {"fhirstore.definitions"}
FORMATS = DEFINITIONS | {"fhirstore.formats"}
FHIRPATH = FORMATS | {"fhirstore.fhirpath"}
KNOWLEDGE = FHIRPATH | {"fhirstore.capability", "fhirstore.terminology", "fhirstore.store"}
SERVICES = KNOWLEDGE | {"fhirstore.jobs", "fhirstore.search", "fhirstore.validation"}
INTERACTIONS = SERVICES | {"fhirstore.plugins", "fhirstore.interactions"}
ASSEMBLY = INTERACTIONS | {"fhirstore.packages", "fhirstore.server"}

# Package -> what it may import besides itself and EVERYWHERE.
ALLOWED: dict[str, set[str]] = {
    "fhirstore": set(),
    "fhirstore.model": set(),
    "fhirstore.errors": set(),
    "fhirstore.settings": set(),
    "fhirstore.settings_load": set(),
    "fhirstore.definitions": set(),
    "fhirstore.formats": DEFINITIONS,
    "fhirstore.fhirpath": FORMATS,
    "fhirstore.capability": FHIRPATH,
    "fhirstore.terminology": FORMATS,
    "fhirstore.store": FHIRPATH,
    "fhirstore.jobs": {"fhirstore.store"},
    "fhirstore.search": KNOWLEDGE,
    "fhirstore.validation": FHIRPATH | {"fhirstore.terminology"},
    "fhirstore.plugins": SERVICES | {"fhirstore.messages", "fhirstore.tls"},
    "fhirstore.interactions": INTERACTIONS,
    "fhirstore.packages": KNOWLEDGE | {"fhirstore.validation"},
    "fhirstore.messages": set(),
    "fhirstore.tls": set(),
    "fhirstore.serving": FORMATS | {"fhirstore.tls"},
    "fhirstore.server": ASSEMBLY,
    "fhirstore.http": ASSEMBLY | {"fhirstore.tls", "fhirstore.messages"},
    "fhirstore.commands": {"fhirstore"},
    "fhirstore.cli": {"fhirstore"},
    "fhirstore.__main__": {"fhirstore.cli"},
}

# Engines are found by entry point; other packages know the protocol only.
PRIVATE = {"fhirstore.store.sqlite": {"fhirstore.store"}, "fhirstore.store.mongo": {"fhirstore.store"}}

# Distribution -> the only places that may import it.
ONLY_IN = {
    "flask": {"fhirstore.http"},
    "werkzeug": {"fhirstore.http", "fhirstore.formats"},
    "pymongo": {"fhirstore.store.mongo"},
    "sqlite3": {"fhirstore.store.sqlite"},
    "gunicorn": {"fhirstore.commands", "fhirstore.serving"},
    "cryptography": {"fhirstore.tls"},
    "click": {"fhirstore.commands", "fhirstore.cli", "fhirstore.plugins.hookspecs"},
    "rich": {"fhirstore.commands", "fhirstore.cli"},
    "httpx": {"fhirstore.packages", "fhirstore.terminology.remote"},
    "prometheus_client": {"fhirstore.http"},
    "fhirpathpy": {"fhirstore.fhirpath"},
    "re2": {"fhirstore.formats"},
    "babel": {"fhirstore.messages"},
}

PLUGIN_SURFACE = {"fhirstore.plugins"}


def imports(file: Path, module: str) -> Iterator[str]:
    """The modules that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if _is_module(inner) else base


def _is_module(name: str) -> bool:
    path = SRC / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def inside(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted(SRC.rglob("*.py")):
        parts = file.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def may_import(module: str, imported: str) -> bool:
    package = max((p for p in ALLOWED if inside(module, {p})), key=len)
    if imported in EVERYWHERE or inside(imported, {"fhirstore.model"}):
        return True
    for private, users in PRIVATE.items():
        if inside(imported, {private}) and not inside(module, {private}):
            return inside(module, users)
    return inside(imported, ALLOWED[package] | ({package} if package != "fhirstore" else set()))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_lower_layers(module: str) -> None:
    for imported in imports(MODULES[module], module):
        if imported.split(".")[0] == "fhirstore":
            assert may_import(module, imported), f"{module} must not import {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_frameworks_and_drivers_are_imported_by_one_package(module: str) -> None:
    for imported in imports(MODULES[module], module):
        places = ONLY_IN.get(imported.split(".")[0])
        assert places is None or inside(module, places), f"{module} imports {imported}; only {sorted(places)} may"


def test_every_package_is_in_the_table() -> None:
    assert {".".join(m.split(".")[:2]) for m in MODULES} == set(ALLOWED)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph: Mapping[str, set[str]] = {
        module: {i for i in imports(file, module) if i in MODULES and i != module} for module, file in MODULES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


PLUGIN_FILES = [f for f in sorted((ROOT / "plugins").rglob("*.py")) if "tests" not in f.parts]


@pytest.mark.parametrize("file", PLUGIN_FILES, ids=lambda f: f.name)
def test_plugins_import_the_plugin_surface_only(file: Path) -> None:
    for imported in imports(file, ""):
        if imported.split(".")[0] == "fhirstore":
            assert imported in PLUGIN_SURFACE, f"{file} imports {imported}; plugins may import {PLUGIN_SURFACE}"


def test_the_model_imports_the_standard_library_and_msgspec_only() -> None:
    for module, file in MODULES.items():
        if inside(module, {"fhirstore.model"}):
            for imported in imports(file, module):
                name = imported.split(".")[0]
                assert name in sys.stdlib_module_names or name == "msgspec" or inside(imported, {"fhirstore.model"})
