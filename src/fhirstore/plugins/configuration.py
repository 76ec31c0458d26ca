"""Configuration of plugins: a declared schema, checked with marshmallow, read back as a typed object.

A plugin declares a frozen dataclass. Each field is an option with a type, a default and a description:

    @dataclass(frozen=True)
    class ClinicConfiguration:
        reminders: bool = option(True, "Send reminders to patients.")
        pause_s: float = option(5.0, "Seconds between two reminders.", above=0)

Types: bool (on, off), int, float, str, pathlib.Path, Literal of texts, and each of them with `| None`. The setting
`plugin_options` sets them as `PLUGIN.NAME=VALUE`. An empty value means None if the type allows it.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import marshmallow as ma
from marshmallow import validate

from fhirstore.errors import StartupError

SETTING = "plugin_options"
_METADATA = "fhirstore.option"


class OptionError(ValueError):
    """Raised by the `__post_init__` of a configuration for options that do not go together.

    option: the name of the option without that of the plugin. text: what is wrong, and what would be right."""

    def __init__(self, option: str, text: str):
        super().__init__(text)
        self.option, self.text = option, text


@dataclass(frozen=True, slots=True)
class _Constraints:
    description: str
    minimum: float | None
    above: float | None
    maximum: float | None
    check: Callable[[Any], object] | None


def option(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    check: Callable[[Any], object] | None = None,
) -> Any:
    """A field of a configuration.

    description: one sentence for `fhirstore plugins`. minimum, maximum: inclusive bounds of a number; above: an
    exclusive lower bound. check: is called with a value that is set, and raises ValueError with a text that says what
    is allowed ("a PEM file"). The default is not checked."""
    return field(default=default, metadata={_METADATA: _Constraints(description, minimum, above, maximum, check)})


@dataclass(frozen=True, slots=True)
class OptionDescription:
    """An option for `fhirstore plugins`. name: with that of the plugin ("sas.booking"). allowed: in words. default,
    value: as they are written in `plugin_options`; value is that of this deployment."""

    name: str
    allowed: str
    default: str
    value: str
    description: str


@dataclass(frozen=True, slots=True)
class ConfigurationSchema:
    """The checking schema of a plugin's configuration. declared: the dataclass. allowed: by option, in words."""

    plugin: str
    declared: type
    allowed: Mapping[str, str]
    fields: Mapping[str, ma.fields.Field[Any]]

    @classmethod
    def of(cls, plugin: str, declared: object) -> ConfigurationSchema:
        """Raises StartupError if the declaration is not usable."""
        params = getattr(declared, "__dataclass_params__", None)
        if not (isinstance(declared, type) and is_dataclass(declared) and params is not None and params.frozen):
            raise StartupError(f"plugin {plugin}: hook configuration returned {declared!r}. Return a frozen dataclass.")
        allowed: dict[str, str] = {}
        checks: dict[str, ma.fields.Field[Any]] = {}
        hints = get_type_hints(declared)
        for one in fields(declared):
            constraints = one.metadata.get(_METADATA)
            if constraints is None:
                raise StartupError(
                    f"plugin {plugin}: the field {one.name} of {declared.__name__} is not an option. "
                    "Declare it with option(default, description)."
                )
            try:
                allowed[one.name], checks[one.name] = _field(hints[one.name], constraints)
            except TypeError as problem:
                raise StartupError(f"plugin {plugin}: the option {one.name}: {problem}") from None
        return cls(plugin, declared, allowed, checks)

    def load(self, values: Mapping[str, str]) -> Any:
        """The configuration with these values, by option. Raises StartupError that names the option."""
        loaded = {}
        for name, text in values.items():
            if name not in self.fields:
                raise StartupError(self._unknown(name))
            try:
                loaded[name] = self.fields[name].deserialize(text)
            except ma.ValidationError as problem:
                raise StartupError(self._refused(name, text, str(problem.messages[0]))) from None
        try:
            return self.declared(**loaded)
        except OptionError as problem:
            raise StartupError(f"{SETTING}, {self.plugin}.{problem.option}: {problem.text}") from None
        except ValueError as problem:
            raise StartupError(f"{SETTING}, {self.plugin}: {problem}") from None

    def describe(self, configuration: object) -> list[OptionDescription]:
        """The options, with their values in `configuration`."""
        return [
            OptionDescription(
                f"{self.plugin}.{one.name}",
                self.allowed[one.name],
                _written(one.default),
                _written(getattr(configuration, one.name)),
                one.metadata[_METADATA].description,
            )
            for one in fields(self.declared)
        ]

    def _unknown(self, name: str) -> str:
        known = [f"{self.plugin}.{one}" for one in self.fields]
        near = difflib.get_close_matches(name, self.fields, 1)
        advice = f"Did you mean {self.plugin}.{near[0]}? " if near else ""
        return f"{SETTING}, {self.plugin}.{name}: unknown option. {advice}Options: {', '.join(known) or 'none'}."

    def _refused(self, name: str, text: str, allowed: str) -> str:
        default = next(_written(one.default) for one in fields(self.declared) if one.name == name)
        shown = f" (default: {default})" if default else ""
        return f"{SETTING}, {self.plugin}.{name}: {text!r} is not allowed. Use {allowed}{shown}."


def split_options(entries: Sequence[str], plugins: Sequence[str]) -> dict[str, dict[str, str]]:
    """The entries of the setting `plugin_options` by plugin: option -> value; the last entry of an option counts.
    Raises StartupError for an entry that is not PLUGIN.NAME=VALUE, or of a plugin that is not loaded."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        key, equals, value = (part.strip() for part in entry.partition("="))
        plugin, dot, name = key.rpartition(".")
        if not (equals and dot and plugin and name):
            raise StartupError(
                f"{SETTING}: {entry!r} is not an option. Use PLUGIN.NAME=VALUE, such as sas.booking=off."
            )
        if plugin not in plugins:
            loaded = ", ".join(plugins) or "none"
            raise StartupError(f"{SETTING}, {key}: plugin {plugin} is not loaded. Loaded plugins: {loaded}.")
        found.setdefault(plugin, {})[name] = value
    return found


# --- one marshmallow field per option ---------------------------------------------------------------


def _field(hint: Any, constraints: _Constraints) -> tuple[str, ma.fields.Field[Any]]:
    """(what is allowed in words, the field). Raises TypeError for a type that options cannot have."""
    optional = get_origin(hint) in (Union, types.UnionType)
    kind = next(a for a in get_args(hint) if a is not type(None)) if optional else hint
    allowed, made, checks = _of_kind(kind, constraints)
    if constraints.check is not None:
        checks.append(_checked(constraints.check))
    for message in made.error_messages:
        made.error_messages[message] = allowed
    made.validators = [*made.validators, *checks]
    return allowed, _Optional(made) if optional else made


def _of_kind(kind: Any, constraints: _Constraints) -> tuple[str, ma.fields.Field[Any], list[Callable[[Any], Any]]]:
    if get_origin(kind) is Literal:
        choices = tuple(map(str, get_args(kind)))
        allowed = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1])))
        return allowed, ma.fields.String(), [validate.OneOf(choices, error=allowed)]
    if kind is bool:
        return "on or off", ma.fields.Boolean(truthy={"on"}, falsy={"off"}), []
    if kind in (int, float):
        allowed = ("a whole number" if kind is int else "a number") + _bounds(constraints)
        made: ma.fields.Field[Any] = ma.fields.Integer() if kind is int else ma.fields.Float()
        lowest = constraints.minimum if constraints.above is None else constraints.above
        inclusive = constraints.above is None
        bounds = validate.Range(lowest, constraints.maximum, min_inclusive=inclusive, error=allowed)
        return allowed, made, [bounds]
    if kind is str:
        return "a text", ma.fields.String(), []
    if kind is Path:
        return "a path", _Path(), []
    raise TypeError(f"the type {kind!r} is not supported. Use bool, int, float, str, Path or Literal.")


def _bounds(constraints: _Constraints) -> str:
    parts = [
        f"{words} {bound:g}"
        for words, bound in (
            ("of at least", constraints.minimum),
            ("greater than", constraints.above),
            ("of at most", constraints.maximum),
        )
        if bound is not None
    ]
    return "".join(f" {'and ' if n else ''}{part}" for n, part in enumerate(parts))


def _checked(check: Callable[[Any], object]) -> Callable[[Any], None]:
    def run(value: Any) -> None:
        try:
            check(value)
        except ValueError as problem:
            raise ma.ValidationError(str(problem)) from None

    return run


class _Path(ma.fields.String):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return Path(super()._deserialize(value, attr, data, **kwargs))


class _Optional(ma.fields.Field[Any]):
    """An option that may be None, which is written as an empty text."""

    def __init__(self, inner: ma.fields.Field[Any]) -> None:
        super().__init__()
        self._inner = inner

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return None if value == "" else self._inner.deserialize(value, attr, data)


def _written(value: object) -> str:
    """A value as it is written in `plugin_options`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
