"""Finds, checks and holds the plugins of a deployment (https://pluggy.readthedocs.io).

A plugin is named by its entry point in the group `fhirstore.plugins`, or given as a path: a folder or .tgz with a
FHIR package (JSON only), or the checkout of a plugin distribution that is installed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import DEFAULT, PackageLimits, read_package
from fhirstore.errors import StartupError
from fhirstore.model.indexing import CompoundIndex
from fhirstore.plugins import hookspecs
from fhirstore.plugins.dependencies import unite

GROUP = "fhirstore.plugins"


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one plugin brings. source: its distribution with version, or its path. packages: "name version".
    The resources are given by their canonicals; hooks: names of the hook functions it implements."""

    name: str
    source: str
    packages: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    search_parameters: tuple[str, ...] = ()
    value_sets: tuple[str, ...] = ()
    code_systems: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    compounds: tuple[CompoundIndex, ...] = ()


class JsonPlugin:
    """A plugin without Python: the FHIR package at a path."""

    def __init__(self, path: str):
        self._path = path

    @hookspecs.hookimpl
    def packages(self) -> list[str]:
        return [self._path]


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    source: str
    plugin: object


class Plugins:
    """The loaded plugins, in the order they were named; immutable. hook: pluggy's relay, `plugins.hook.validate(…)`.

    Of two plugins that implement a hook the one named first is called first."""

    def __init__(self, found: Sequence[_Found] = (), limits: PackageLimits = DEFAULT):
        self._manager = pluggy.PluginManager("fhirstore")
        self._manager.add_hookspecs(hookspecs)
        self._found, self._limits = tuple(found), limits
        for one in reversed(self._found):  # pluggy calls the last registered first
            _register(self._manager, one)
        self.hook = self._manager.hook
        self._own_packages = {one.name: self._read_packages(one) for one in self._found}
        self._packages = unite(self._own_packages)

    @classmethod
    def load(cls, names_or_paths: Sequence[str] = (), limits: PackageLimits = DEFAULT) -> Plugins:
        """The plugins of these names or paths, each once. limits: of the packages they bring.

        Raises StartupError: an unknown name (the known ones are listed), a plugin that cannot be imported or has
        functions that are no hooks, a broken package, one package in two versions."""
        points = installed()
        found: dict[str, _Found] = {}
        for given in names_or_paths:
            for one in _find(given, points):
                found.setdefault(one.name, one)
        return cls(tuple(found.values()), limits)

    def packages(self) -> list[Package]:
        """The FHIR packages of all plugins, each once."""
        return list(self._packages)

    def compounds(self) -> tuple[CompoundIndex, ...]:
        """The compound indexes that the plugins declare, each once."""
        return tuple(dict.fromkeys(compound for one in self._found for compound in self._compounds_of(one)))

    def operations(self) -> dict[str, hookspecs.PluginOperation]:
        """The operations of all plugins, by the canonicals of their definitions. Raises StartupError for two of one."""
        found: dict[str, tuple[str, hookspecs.PluginOperation]] = {}
        for one in self._found:
            for operation in self._answers(one, "operations"):
                other, _ = found.setdefault(operation.definition, (one.name, operation))
                if other != one.name:
                    raise StartupError(f"plugins {other} and {one.name} both do the operation {operation.definition}.")
        return {canonical: operation for canonical, (_, operation) in found.items()}

    def options(self, given: Sequence[str]) -> dict[str, str]:
        """The options of all plugins as set by `given` (the setting `plugin_options`), "PLUGIN.NAME" -> value. Raises
        StartupError for an option that no loaded plugin has, or a value that it may not have."""
        declared = {
            f"{one.name}.{option.name}": option for one in self._found for option in self._answers(one, "options")
        }
        found = {name: option.values[0] if option.values else option.default for name, option in declared.items()}
        for entry in given:
            name, _, value = (part.strip() for part in entry.partition("="))
            if name not in declared or (declared[name].values and value not in declared[name].values):
                wanted = "; ".join(_wanted(key, option) for key, option in declared.items()) or "none"
                raise StartupError(f"plugin_options: {entry!r} is not understood; the loaded plugins have: {wanted}.")
            _check(name, declared[name], value)
            found[name] = value
        return found

    def describe(self) -> list[Contribution]:
        """What each plugin contributes, in the order they were named."""
        return [self._contribution(one) for one in self._found]

    def _contribution(self, one: _Found) -> Contribution:
        packages = self._own_packages[one.name]

        def urls(resource_type: str) -> tuple[str, ...]:
            resources = (r for p in packages for r in p.resources if r.get("resourceType") == resource_type)
            return tuple(str(r.get("url") or r.get("id")) for r in resources)

        return Contribution(
            name=one.name,
            source=one.source,
            packages=tuple(f"{p.name} {p.version}" for p in packages),
            profiles=urls("StructureDefinition"),
            search_parameters=urls("SearchParameter"),
            value_sets=urls("ValueSet"),
            code_systems=urls("CodeSystem"),
            statements=urls("CapabilityStatement"),
            hooks=tuple(caller.name for caller in self._manager.get_hookcallers(one.plugin) or ()),
            compounds=self._compounds_of(one),
        )

    def _read_packages(self, one: _Found) -> tuple[Package, ...]:
        return tuple(read_package(path, self._limits) for path in self._answers(one, "packages"))

    def _compounds_of(self, one: _Found) -> tuple[CompoundIndex, ...]:
        return tuple(self._answers(one, "indexes"))

    def _answers(self, one: _Found, hook: str) -> list[Any]:
        """What the functions of one plugin for a declaring hook (without arguments, lists) answer."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        return [answer for i in implementations if i.plugin is one.plugin for answer in i.function() or ()]


def _wanted(name: str, option: hookspecs.PluginOption) -> str:
    return f"{name}={'|'.join(option.values) or '…'}"


def _check(name: str, option: hookspecs.PluginOption, value: str) -> None:
    if option.check is None or value == option.default:
        return
    try:
        option.check(value)
    except ValueError as problem:
        default = f"; the default is {option.default!r}" if option.default else ""
        raise StartupError(f"plugin_options, {name}: {value!r} is refused: {problem}{default}.") from None


def installed() -> dict[str, EntryPoint]:
    """The entry points of the installed plugins, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def _register(manager: pluggy.PluginManager, one: _Found) -> None:
    try:
        manager.register(one.plugin, name=one.name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as problem:
        raise StartupError(f"plugin {one.name} ({one.source}): {problem}") from problem


def _find(given: str, installed: Mapping[str, EntryPoint]) -> list[_Found]:
    """The plugin of a name or path; a checkout may hold several."""
    if given in installed:
        return [_installed(installed[given])]
    path = Path(given)
    if (path / "pyproject.toml").is_file():
        return [_installed(_point(name, installed, path)) for name in _declared_in(path)]
    if path.exists():
        where = str(path.resolve())
        return [_Found(name=where, source=where, plugin=JsonPlugin(where))]
    known = ", ".join(sorted(installed)) or "none"
    raise StartupError(
        f"--plugin {given}: no installed plugin has this name (installed: {known}) "
        "and no folder or .tgz file with a FHIR package is there."
    )


def _installed(point: EntryPoint) -> _Found:
    source = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    try:
        return _Found(name=point.name, source=source, plugin=point.load())
    except Exception as problem:  # a plugin's module may raise anything when it is imported
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


def _point(name: str, installed: Mapping[str, EntryPoint], checkout: Path) -> EntryPoint:
    if name not in installed:
        raise StartupError(
            f"--plugin {checkout}: the plugin {name} of this folder has Python code and must be installed first: "
            f"pip install -e {checkout}"
        )
    return installed[name]
