"""The plugins of a deployment: checked, registered and called (https://pluggy.readthedocs.io)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

import pluggy

from fhirstore.capability.registry import Registry
from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import DEFAULT, PackageLimits, read_package
from fhirstore.errors import StartupError
from fhirstore.model.indexing import CompoundIndex
from fhirstore.plugins import hookspecs
from fhirstore.plugins.checks import argument_names, check_hooks
from fhirstore.plugins.configuration import ConfigurationSchema, OptionDescription, split_options
from fhirstore.plugins.context import PluginContext, PluginContexts
from fhirstore.plugins.hooks import BoundHook, RequestHooks, with_all_arguments
from fhirstore.plugins.loading import LoadedPlugin, find_plugins
from fhirstore.plugins.model import PluginOperation
from fhirstore.settings import IntegrityLevel
from fhirstore.store.protocol import Store

if TYPE_CHECKING:
    from fhirstore.jobs.handler import JobHandler

_PROJECT = "fhirstore"
_IMPLEMENTATION = f"{_PROJECT}_impl"


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one plugin contributes. source: its distribution with version, or its path. packages: "name version".
    Resources are listed by their canonicals; hooks: names of the hooks that it implements."""

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
    options: tuple[OptionDescription, ...] = ()


class Plugins:
    """The loaded plugins, in the order in which they were named; immutable.

    hook: calls a hook of all plugins, `plugins.hook.metrics(…)`, the plugin named first before the others. Callers
    pass the `PluginContexts` of the deployment as `context`. Requests use `request_hooks`, which are faster."""

    def __init__(self, found: Sequence[LoadedPlugin] = (), limits: PackageLimits = DEFAULT):
        self._manager = pluggy.PluginManager(_PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._found, self._limits = tuple(found), limits
        known = {name: caller.spec.argnames for name, caller in vars(self._manager.hook).items() if caller.spec}
        for one in reversed(self._found):  # pluggy calls the last registered first
            functions = _implementations(one.plugin)
            check_hooks(f"plugin {one.name} ({one.source})", functions, known)
            self._manager.register(_with_own_context(one.name, functions), name=one.name)
        self.hook = self._manager.hook
        self._schemas = self._read_schemas()
        self._own_packages = {one.name: self._read_packages(one) for one in self._found}
        self._packages = merge_packages(self._own_packages)

    @classmethod
    def load(cls, names_or_paths: Sequence[str] = (), limits: PackageLimits = DEFAULT) -> Plugins:
        """The plugins of these names or paths, each once. limits: of the packages that they contain.

        Raises StartupError: an unknown name, a plugin that cannot be imported, imports more than `fhirstore.plugins`,
        or has functions that are not hooks, a defective package, one package in two versions."""
        return cls(find_plugins(names_or_paths), limits)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the plugins, in the order in which they were named."""
        return tuple(one.name for one in self._found)

    def each(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """(plugin, function) for the plugins that implement a hook. The function takes the arguments of the hook by
        name; it is called with those that the implementation names."""
        for one in self._found:
            function = _implementations(one.plugin).get(hook)
            if function is not None:
                yield one.name, functools.partial(_call_with_own, function, one.name)

    def packages(self) -> list[Package]:
        """The FHIR packages of all plugins, each once."""
        return list(self._packages)

    def compounds(self) -> tuple[CompoundIndex, ...]:
        """The compound indexes that the plugins declare, each once."""
        return tuple(dict.fromkeys(compound for name in self.names for compound in self._results(name, "indexes")))

    def integrity_level(self) -> IntegrityLevel:
        """The strictest level of referential integrity that a plugin asks for."""
        asked = [self._call(name, "referential_integrity") for name in self.names]
        return max((level for level in asked if level is not None), key=get_args(IntegrityLevel).index, default="off")

    def operations(self) -> dict[str, tuple[str, PluginOperation]]:
        """(plugin, operation) by the canonical of the definition. Raises StartupError if two plugins implement one."""
        found: dict[str, tuple[str, PluginOperation]] = {}
        for name in self.names:
            for operation in self._results(name, "operations"):
                other, _ = found.setdefault(operation.definition, (name, operation))
                if other != name:
                    raise StartupError(f"plugins {other} and {name} both implement {operation.definition}.")
        return found

    def configure(self, entries: Sequence[str] = ()) -> dict[str, object]:
        """The configuration of each plugin that declares one. entries: the setting `plugin_options`. Raises
        StartupError that names the option."""
        values = split_options(entries, self.names)
        for name in values:
            if name not in self._schemas:
                raise StartupError(f"plugin_options: plugin {name} has no options.")
        return {name: schema.load(values.get(name, {})) for name, schema in self._schemas.items()}

    def contexts(
        self, entries: Sequence[str] = (), registry: Registry | None = None, store: Store | None = None
    ) -> PluginContexts:
        """The contexts of the plugins. entries: the setting `plugin_options`. Raises StartupError."""
        return PluginContexts(self.configure(entries), registry, store, self._job_handlers)

    def request_hooks(self, contexts: PluginContexts) -> RequestHooks:
        """The hooks that requests call. contexts: of the deployment."""
        return RequestHooks(**{field.name: self._bound_hooks(field.name, contexts) for field in fields(RequestHooks)})

    def _bound_hooks(self, name: str, contexts: PluginContexts) -> tuple[BoundHook, ...]:
        caller = getattr(self._manager.hook, name)
        functions = {one.name: _implementations(one.plugin).get(name) for one in self._found}
        found = []
        for implementation in reversed(caller.get_hookimpls()):  # pluggy calls the last one first
            plugin = implementation.plugin_name
            if (function := functions[plugin]) is not None:
                bound = with_all_arguments(function, argument_names(function), caller.spec.argnames)
                found.append((bound, contexts.of(plugin)))
        return tuple(found)

    def describe(self, entries: Sequence[str] = ()) -> list[Contribution]:
        """What each plugin contributes, in the order in which they were named. entries: the setting
        `plugin_options`."""
        configurations = self.configure(entries)
        return [self._contribution(one, configurations.get(one.name)) for one in self._found]

    def _contribution(self, one: LoadedPlugin, configuration: object) -> Contribution:
        packages = self._own_packages[one.name]
        schema = self._schemas.get(one.name)

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
            hooks=tuple(sorted(_implementations(one.plugin))),
            compounds=tuple(self._results(one.name, "indexes")),
            options=() if schema is None else tuple(schema.describe(configuration)),
        )

    def _read_packages(self, one: LoadedPlugin) -> tuple[Package, ...]:
        return tuple(read_package(path, self._limits) for path in self._results(one.name, "packages"))

    def _read_schemas(self) -> dict[str, ConfigurationSchema]:
        declared = {name: self._call(name, "configuration") for name in self.names}
        return {name: ConfigurationSchema.of(name, one) for name, one in declared.items() if one is not None}

    def _job_handlers(self, plugin: str, context: PluginContext) -> Iterable[JobHandler]:
        found: Iterable[JobHandler] | None = self._call(plugin, "jobs", context)
        return found or ()

    def _results(self, plugin: str, hook: str) -> list[Any]:
        """The list that the implementation of one plugin returns for a hook without arguments."""
        return list(self._call(plugin, hook) or ())

    def _call(self, plugin: str, hook: str, *arguments: object) -> Any:
        """The result of one plugin's implementation of a hook; None without one."""
        one = next(one for one in self._found if one.name == plugin)
        function = _implementations(one.plugin).get(hook)
        return None if function is None else function(*arguments[: len(argument_names(function))])


def merge_packages(by_plugin: Mapping[str, Sequence[Package]]) -> tuple[Package, ...]:
    """The packages of all plugins, each once: https://hl7.org/fhir/packages.html. Raises StartupError if plugins
    contain one package in two versions."""
    first: dict[str, tuple[Package, str]] = {}
    for plugin, packages in by_plugin.items():
        for package in packages:
            known, owner = first.setdefault(package.name, (package, plugin))
            if known.version != package.version:
                raise StartupError(
                    f"package {package.name}: plugin {owner} contains version {known.version}, "
                    f"plugin {plugin} contains {package.version}. Load only one of them."
                )
    return tuple(package for package, _ in first.values())


def _implementations(plugin: object) -> dict[str, Callable[..., Any]]:
    """The functions of a plugin that are decorated with `hookimpl`, by the names of their hooks."""
    found = {}
    for attribute in dir(plugin):
        function = getattr(plugin, attribute, None)
        options = getattr(function, _IMPLEMENTATION, None)
        if callable(function) and isinstance(options, Mapping):
            found[options.get("specname") or attribute] = function
    return found


def _call_with_own(function: Callable[..., Any], plugin: str, /, **given: Any) -> Any:
    if "context" in given:
        given["context"] = given["context"].of(plugin)
    return function(*(given[name] for name in argument_names(function)))


def _with_own_context(plugin: str, functions: Mapping[str, Callable[..., Any]]) -> ModuleType:
    """The functions as an object to register; each receives the context of this plugin instead of `PluginContexts`."""
    bound = ModuleType(plugin)
    for name, function in functions.items():
        setattr(bound, name, _bound(function, plugin))
    return bound


def _bound(function: Callable[..., Any], plugin: str) -> Callable[..., Any]:
    arguments = argument_names(function)
    at = arguments.index("context") if "context" in arguments else None

    @functools.wraps(function)
    def call(*given: Any) -> Any:
        if at is None:
            return function(*given)
        own = list(given)
        own[at] = given[at].of(plugin)
        return function(*own)

    setattr(call, _IMPLEMENTATION, getattr(function, _IMPLEMENTATION))
    return call
