"""The rooms of docs/architecture.md and which of them may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

ANYWHERE = {"fhirstore.model", "fhirstore.errors", "fhirstore.settings", "fhirstore.plugins.hookspecs", "fhirstore"}
DEFINITIONS = {"fhirstore.definitions"}
READERS = DEFINITIONS | {"fhirstore.formats", "fhirstore.fhirpath", "fhirstore.capability"}
RULES = READERS | {
    "fhirstore.terminology",
    "fhirstore.validation",
    "fhirstore.search",
    "fhirstore.store.protocol",
    "fhirstore.store.errors",
}
INTERACTIONS = RULES | {"fhirstore.plugins", "fhirstore.interactions"}

# Room -> what it may import besides itself and ANYWHERE; the longest matching room applies.
ALLOWED: dict[str, set[str]] = {
    "fhirstore": set(),
    "fhirstore.errors": set(),
    "fhirstore.settings": set(),
    "fhirstore.settings_load": set(),
    "fhirstore.model": set(),
    "fhirstore.definitions": set(),
    "fhirstore.formats": DEFINITIONS,
    "fhirstore.fhirpath": DEFINITIONS,
    "fhirstore.capability": DEFINITIONS | {"fhirstore.fhirpath", "fhirstore.formats"},
    "fhirstore.store": set(),
    "fhirstore.search": READERS | {"fhirstore.store.protocol", "fhirstore.store.errors"},
    "fhirstore.terminology": DEFINITIONS | {"fhirstore.formats"},
    "fhirstore.validation": READERS | {"fhirstore.terminology"},
    "fhirstore.messages": set(),
    "fhirstore.tls": set(),
    "fhirstore.packages": READERS | {"fhirstore.validation"},
    "fhirstore.plugins": DEFINITIONS
    | {"fhirstore.store.protocol", "fhirstore.store.errors", "fhirstore.capability.registry"}
    | {"fhirstore.search.paging", "fhirstore.search.values"},
    "fhirstore.interactions": INTERACTIONS,
    "fhirstore.server": INTERACTIONS | {"fhirstore.store", "fhirstore.packages"},
    "fhirstore.http": INTERACTIONS | {"fhirstore.server", "fhirstore.tls", "fhirstore.messages"},
    "fhirstore.commands": {"fhirstore"},
    "fhirstore.cli": {"fhirstore"},
    "fhirstore.__main__": {"fhirstore.cli"},
}

# Distribution -> the only places that may import it.
ONLY_IN = {
    "flask": {"fhirstore.http"},
    "werkzeug": {"fhirstore.http", "fhirstore.formats"},
    "pymongo": {"fhirstore.store.mongo"},
    "sqlite3": {"fhirstore.store.sqlite"},
    "gunicorn": {"fhirstore.commands"},
    "cryptography": {"fhirstore.tls"},
    "click": {"fhirstore.commands", "fhirstore.cli"},
    "rich": {"fhirstore.commands", "fhirstore.cli"},
    "babel": {"fhirstore.messages"},
    "httpx": {"fhirstore.packages", "fhirstore.terminology.remote"},
}

PLUGIN_SURFACE = {"fhirstore.plugins", "fhirstore.plugins.typed", "fhirstore.errors"}


def imports(file: Path, module: str) -> Iterator[str]:
    """What a module imports when it runs (not what is imported for type checkers only)."""
    todo: list[ast.AST] = [ast.parse(file.read_text("utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if (SRC / inner.replace(".", "/")).with_suffix(".py").exists() else base
        else:
            todo += ast.iter_child_nodes(node)


def inside(module: str, rooms: set[str]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def modules() -> dict[str, Path]:
    found = {}
    for file in sorted(SRC.rglob("*.py")):
        parts = file.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    room = max((r for r in ALLOWED if inside(module, {r})), key=len)
    may = ALLOWED[room] | ({room} if room != "fhirstore" else set())
    for imported in imports(MODULES[module], module):
        if (
            imported.split(".")[0] == "fhirstore"
            and not inside(imported, {"fhirstore.model"})
            and imported not in ANYWHERE
        ):
            assert inside(imported, may), f"{module} imports {imported}; {room} may import {sorted(may)}"


@pytest.mark.parametrize("module", MODULES)
def test_frameworks_and_drivers_stay_in_their_room(module: str) -> None:
    for imported in imports(MODULES[module], module):
        places = ONLY_IN.get(imported.split(".")[0])
        assert places is None or inside(module, places), f"{module} imports {imported}; only {sorted(places)} may"


def test_every_room_of_the_source_tree_is_in_the_table() -> None:
    rooms = {".".join(m.split(".")[:2]) for m in MODULES}
    assert rooms == set(ALLOWED)


PLUGIN_FILES = [f for f in sorted((ROOT / "plugins").rglob("*.py")) if "tests" not in f.relative_to(ROOT).parts]


@pytest.mark.parametrize("file", PLUGIN_FILES, ids=lambda f: f.name)
def test_plugins_import_the_plugin_surface_only(file: Path) -> None:
    for imported in imports(file, ""):
        if imported.split(".")[0] == "fhirstore":
            assert imported in PLUGIN_SURFACE, f"{file} imports {imported}; plugins may import {PLUGIN_SURFACE}"
