"""Settings of one deployment: defaults, then a file, then the environment, then the command line; the last one wins.

Every refusal is a StartupError that names the setting, where it was read, and what would be right.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import marshmallow as ma
from marshmallow import validate

from fhirstore.errors import StartupError
from fhirstore.settings import Settings

PREFIX = "FHIRSTORE_"
NOT_SETTINGS = ("CONFIG", "WORKERS", "THREADS", "KEEPALIVE")
"""FHIRSTORE_* variables that the command line reads for itself."""


def load_settings(
    arguments: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | os.PathLike[str] | None = None,
) -> Settings:
    """The settings from all sources.

    arguments: from the command line, by field name; None = not given there. environment: default os.environ.
    file: JSON or TOML (by its suffix .toml); default FHIRSTORE_CONFIG of the environment, if set.
    Raises StartupError."""
    environment = os.environ if environment is None else environment
    file = file or environment.get(PREFIX + "CONFIG") or None
    merged: dict[str, Any] = {}
    if file is not None:
        merged |= _checked(_from_file(Path(file)), lambda key: f"{file}, key {key!r}")
    merged |= _checked(_from_environment(environment), lambda key: f"environment variable {PREFIX}{key.upper()}")
    given = {key: value for key, value in (arguments or {}).items() if value is not None}
    merged |= _checked(given, lambda key: f"command line, --{key.replace('_', '-')}")
    return Settings(**merged)


# --- one field per setting, from its annotation -----------------------------------------------------


class _Texts(ma.fields.List[str]):
    """A list of texts; one text is split at its commas (the environment has no lists)."""

    def __init__(self, further: Any = None) -> None:
        texts = ma.fields.String(error_messages=_message("a text"))
        super().__init__(texts, validate=further, error_messages=_message("a list of texts"))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return tuple(super()._deserialize(list(value) if isinstance(value, tuple) else value, attr, data, **kwargs))


class _Whole(ma.fields.Integer):
    """A whole number; true and 2.5 are none, "2" is one (the environment has only texts)."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float | Decimal) and value != int(value)):
            raise self.make_error("invalid")
        return super()._validated(value)


def _message(wanted: str) -> Any:
    """The texts of marshmallow's own refusals, all of them one."""
    text = f"{wanted} is wanted"
    return {"invalid": text, "null": text, "required": text, "special": text, "too_large": text, "invalid_utf8": text}


def _time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ma.ValidationError("the name of a time zone is wanted, such as Europe/Paris or UTC") from None


def _http_url(value: str | None) -> None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise ma.ValidationError("an absolute URL is wanted, such as https://example.org/fhir")


def _policies(entries: tuple[str, ...]) -> None:
    for entry in entries:
        key, _, policy = entry.rpartition("=")
        if not key.strip() or policy.strip() not in ("enforce", "warn", "off"):
            raise ma.ValidationError(
                f"{entry!r}: a type or a profile with enforce, warn or off is wanted, such as Slot=warn"
            )


def _networks(entries: tuple[str, ...]) -> None:
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            raise ma.ValidationError(
                f"{entry!r}: an address or a network is wanted, such as 127.0.0.1 or 10.0.0.0/8"
            ) from None


def _header_name(value: str | None) -> None:
    # gunicorn drops headers with an underscore: as CGI variables they cannot be told from those with a hyphen
    if value is not None and not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ma.ValidationError("the name of a header is wanted, letters, digits and hyphens")


_FURTHER: Mapping[str, Any] = {
    "timezone": _time_zone,
    "base_url": _http_url,
    "package_registry": _http_url,
    "terminology_server": _http_url,
    "profile_policies": _policies,
    "client_cert_header": _header_name,
    "trusted_proxies": _networks,
}
_FROM_ZERO = frozenset(("cache_bytes",))


def _field(name: str, annotation: Any) -> ma.fields.Field[Any]:
    optional = get_origin(annotation) in (Union, types.UnionType)
    kind = next(a for a in get_args(annotation) if a is not type(None)) if optional else annotation
    further = _FURTHER.get(name)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        text = "one of " + ", ".join(choices) + " is wanted"
        return ma.fields.String(validate=validate.OneOf(choices, error=text), error_messages=_message(text))
    if get_origin(kind) is tuple:
        return _Texts(further)
    if kind is int:
        least = 0 if name in _FROM_ZERO else 1
        text = f"a whole number of at least {least}"
        return _Whole(validate=validate.Range(min=least, error=text + " is wanted"), error_messages=_message(text))
    if kind is float:
        text = "a number greater than 0"
        above = validate.Range(min=0, min_inclusive=False, error=text + " is wanted")
        return ma.fields.Float(validate=above, error_messages=_message(text))
    return ma.fields.String(allow_none=optional, validate=further, error_messages=_message("a text"))


def _schema() -> ma.Schema:
    hints = get_type_hints(Settings)
    return ma.Schema.from_dict({f.name: _field(f.name, hints[f.name]) for f in fields(Settings)})(unknown=ma.RAISE)


def _checked(values: Mapping[str, Any], where: Any) -> dict[str, Any]:
    """The values as Settings has them. where: key -> text that says where it was read."""
    try:
        loaded: dict[str, Any] = _schema().load(dict(values))
    except ma.ValidationError as e:
        lines = (_line(str(key), values.get(str(key)), where) for key in e.messages_dict)
        raise StartupError("\n".join(lines)) from None
    return loaded


def _line(key: str, value: Any, where: Any) -> str:
    if key not in Settings.field_names():
        near = difflib.get_close_matches(key, Settings.field_names(), 1)
        advice = f"did you mean {near[0]!r}?" if near else "docs/settings.md lists them all."
        return f"{where(key)}: there is no such setting; {advice}"
    messages = _schema().validate({key: value})[key]
    return f"{where(key)}: {value!r} is refused: {_first(messages)}; the default is {_default(key)!r}."


def _first(messages: Any) -> str:
    while not isinstance(messages, str):
        messages = next(iter(messages.values() if isinstance(messages, dict) else messages))
    return messages


def _default(key: str) -> Any:
    return next(f.default for f in fields(Settings) if f.name == key)


# --- sources ----------------------------------------------------------------------------------------


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        value = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as e:
        raise StartupError(f"{path}: the configuration file cannot be read: {e.strerror}.") from None
    except ValueError as e:  # also UnicodeDecodeError, JSONDecodeError and TOMLDecodeError
        kind = "TOML" if path.suffix == ".toml" else "JSON (or, with the suffix .toml, TOML)"
        raise StartupError(f"{path}: this is not {kind}: {e}.") from None
    if not isinstance(value, dict):
        raise StartupError(f'{path}: an object of settings is wanted, such as {{"max_count": 500}}.')
    return value


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Empty variables count as not set. Names that look like a misspelt setting are refused; other FHIRSTORE_*
    variables are left alone, since container platforms set some of their own (FHIRSTORE_SERVICE_HOST…)."""
    known = Settings.field_names()
    found: dict[str, Any] = {}
    for name, value in environment.items():
        key = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or key.upper() in NOT_SETTINGS or not value:
            continue
        if key in known or difflib.get_close_matches(key, known, 1, 0.8):
            found[key] = value
    return found
