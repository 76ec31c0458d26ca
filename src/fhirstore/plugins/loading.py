"""Finds plugins by name or path and imports them.

A plugin is named by its entry point in the group `fhirstore.plugins`, or by a path: a folder or .tgz with a FHIR
package (JSON only), or the checkout of an installed plugin.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.plugins import hookspecs
from fhirstore.plugins.checks import check_imports

GROUP = "fhirstore.plugins"


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """source: the distribution with its version, or the path. plugin: the object with the hooks."""

    name: str
    source: str
    plugin: object


class JsonPlugin:
    """A plugin without Python: the FHIR package at a path."""

    def __init__(self, path: str):
        self._path = path

    @hookspecs.hookimpl
    def packages(self) -> list[str]:
        return [self._path]


def installed() -> dict[str, EntryPoint]:
    """The entry points of the installed plugins, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def find_plugins(names_or_paths: Sequence[str]) -> list[LoadedPlugin]:
    """The plugins of these names or paths, each once. Raises StartupError for an unknown name, which lists the
    installed plugins, and for a plugin that cannot be imported or imports more than it may."""
    points = installed()
    found: dict[str, LoadedPlugin] = {}
    for given in names_or_paths:
        for one in _find(given, points):
            found.setdefault(one.name, one)
    return list(found.values())


def _find(given: str, points: Mapping[str, EntryPoint]) -> list[LoadedPlugin]:
    """The plugin of a name or path; a checkout may contain several."""
    if given in points:
        return [_import(points[given])]
    path = Path(given)
    if (path / "pyproject.toml").is_file():
        return [_import(_point(name, points, path)) for name in _declared_in(path)]
    if path.exists():
        where = str(path.resolve())
        return [LoadedPlugin(name=where, source=where, plugin=JsonPlugin(where))]
    known = ", ".join(sorted(points)) or "none"
    raise StartupError(
        f"--plugin {given}: not found. Name an installed plugin (installed: {known}), "
        "or a folder or .tgz file with a FHIR package."
    )


def _import(point: EntryPoint) -> LoadedPlugin:
    source = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    check_imports(f"plugin {point.name} ({source})", point.module)
    try:
        return LoadedPlugin(name=point.name, source=source, plugin=point.load())
    except Exception as problem:  # the module of a plugin may raise anything when it is imported
        raise StartupError(
            f"plugin {point.name} ({source}): {point.value} cannot be imported: {type(problem).__name__}: {problem}"
        ) from problem


def _declared_in(checkout: Path) -> list[str]:
    """The names under [project.entry-points."fhirstore.plugins"] of a checkout."""
    file = checkout / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise StartupError(f"{file}: {problem}") from problem
    names = list(project.get("entry-points", {}).get(GROUP, {}))
    if not names:
        raise StartupError(f'{file}: no plugin is declared under [project.entry-points."{GROUP}"].')
    return names


def _point(name: str, points: Mapping[str, EntryPoint], checkout: Path) -> EntryPoint:
    if name not in points:
        raise StartupError(
            f"--plugin {checkout}: the plugin {name} of this folder contains Python code and must be installed first: "
            f"pip install -e {checkout}"
        )
    return points[name]
