"""Reads the settings: defaults, then a file, then the environment, then the command line. Later sources win.

Every error is a StartupError that names the setting, its source, and the expected value.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import tomllib
import types
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import marshmallow as ma
from marshmallow import validate

from fhirstore.errors import StartupError
from fhirstore.settings import CONFIDENTIAL, Settings, shown_value

PREFIX = "FHIRSTORE_"
RESERVED = ("CONFIG", "WORKERS", "THREADS", "KEEPALIVE")
"""FHIRSTORE_* variables that belong to options of the command line, not to settings."""


def load_settings(
    arguments: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Merges the settings from all sources.

    arguments: options of the command line by field name; None means that the option is absent.
    environment: defaults to os.environ.
    file: TOML if its suffix is .toml, else JSON; defaults to FHIRSTORE_CONFIG in the environment.
    Raises StartupError.
    """
    environment = os.environ if environment is None else environment
    file = file or environment.get(PREFIX + "CONFIG") or None
    merged: dict[str, Any] = {}
    if file is not None:
        merged |= _validated_values(_from_file(Path(file)), lambda key: f"{file}, key {key!r}")
    merged |= _validated_values(
        _from_environment(environment), lambda key: f"environment variable {PREFIX}{key.upper()}"
    )
    options = {key: value for key, value in (arguments or {}).items() if value is not None}
    merged |= _validated_values(options, lambda key: f"command line, --{key.replace('_', '-')}")
    return Settings(**merged)


# --- one marshmallow field per setting, derived from its annotation ---------------------------------


class _TextList(ma.fields.List[str]):
    """A list of strings. A single string is split at its commas, because environment variables have no lists."""

    def __init__(self, check: Any = None) -> None:
        items = ma.fields.String(error_messages=_messages("a string"))
        super().__init__(items, validate=check, error_messages=_messages("a list of strings"))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        return tuple(super()._deserialize(list(value) if isinstance(value, tuple) else value, attr, data, **kwargs))


class _WholeNumber(ma.fields.Integer):
    """Rejects true and 2.5, which marshmallow converts. Accepts "2", because environment variables are strings."""

    def _validated(self, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float | Decimal) and value != int(value)):
            raise self.make_error("invalid")
        return super()._validated(value)


def _messages(expected: str) -> Any:
    """One text for all of marshmallow's own errors: the expected value."""
    keys = ("invalid", "null", "required", "special", "too_large", "invalid_utf8")
    return dict.fromkeys(keys, expected)


def _time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ma.ValidationError("a time zone, such as Europe/Paris or UTC") from None


def _http_url(value: str | None) -> None:
    if value is not None and not value.startswith(("http://", "https://")):
        raise ma.ValidationError("an absolute URL, such as https://example.org/fhir")


def _policies(entries: tuple[str, ...]) -> None:
    for entry in entries:
        key, _, policy = entry.rpartition("=")
        if not key.strip() or policy.strip() not in ("enforce", "warn", "off"):
            raise ma.ValidationError(
                f"TYPE=POLICY or CANONICAL=POLICY with enforce, warn or off, such as Slot=warn, not {entry!r}"
            )


def _networks(entries: tuple[str, ...]) -> None:
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError:
            raise ma.ValidationError(f"addresses or networks, such as 127.0.0.1 or 10.0.0.0/8, not {entry!r}") from None


def _host_names(entries: tuple[str, ...]) -> None:
    for entry in entries:
        if not re.fullmatch(r"\*|(?:\*\.)?[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?", entry):
            raise ma.ValidationError(f"host names without port, such as fhir.example.org or *, not {entry!r}")


def _header_name(value: str | None) -> None:
    # gunicorn drops headers with an underscore: as CGI variables they look like those with a hyphen.
    if value is not None and not re.fullmatch(r"[A-Za-z0-9-]+", value):
        raise ma.ValidationError("a header name of letters, digits and hyphens")


_CHECKS: Mapping[str, Any] = {
    "timezone": _time_zone,
    "base_url": _http_url,
    "package_registry": _http_url,
    "terminology_server": _http_url,
    "profile_policies": _policies,
    "client_cert_header": _header_name,
    "trusted_proxies": _networks,
    "allowed_hosts": _host_names,
}
_ZERO_ALLOWED = frozenset(("cache_bytes",))


def _field(name: str, annotation: Any) -> ma.fields.Field[Any]:
    optional = get_origin(annotation) in (Union, types.UnionType)
    kind = next(a for a in get_args(annotation) if a is not type(None)) if optional else annotation
    check = _CHECKS.get(name)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        expected = "one of " + ", ".join(choices)
        return ma.fields.String(validate=validate.OneOf(choices, error=expected), error_messages=_messages(expected))
    if get_origin(kind) is tuple:
        return _TextList(check)
    if kind is int:
        minimum = 0 if name in _ZERO_ALLOWED else 1
        expected = f"a whole number of at least {minimum}"
        in_range = validate.Range(min=minimum, error=expected)
        return _WholeNumber(allow_none=optional, validate=in_range, error_messages=_messages(expected))
    if kind is float:
        expected = "a number greater than 0"
        positive = validate.Range(min=0, min_inclusive=False, error=expected)
        return ma.fields.Float(allow_none=optional, validate=positive, error_messages=_messages(expected))
    return ma.fields.String(allow_none=optional, validate=check, error_messages=_messages("a string"))


def _schema() -> ma.Schema:
    hints = get_type_hints(Settings)
    return ma.Schema.from_dict({f.name: _field(f.name, hints[f.name]) for f in fields(Settings)})(unknown=ma.RAISE)


def _validated_values(values: Mapping[str, Any], where: Callable[[str], str]) -> dict[str, Any]:
    """The values converted to the types of Settings. where: returns the source of a key, for errors."""
    try:
        loaded: dict[str, Any] = _schema().load(dict(values))
    except ma.ValidationError as e:
        lines = (_error_line(str(key), values.get(str(key)), where) for key in e.messages_dict)
        raise StartupError("\n".join(lines)) from None
    return loaded


def _error_line(key: str, value: Any, where: Callable[[str], str]) -> str:
    if key not in Settings.field_names():
        near = difflib.get_close_matches(key, Settings.field_names(), 1)
        advice = f"Did you mean {near[0]!r}?" if near else "See docs/settings.md for the list."
        return f"{where(key)}: unknown setting. {advice}"
    expected = _first(_schema().validate({key: value})[key])
    shown = "the value" if key in CONFIDENTIAL else shown_value(value)
    return f"{where(key)}: {shown} is not valid. Expected {expected}. Default: {_default(key)!r}."


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
        raise StartupError(f"{path}: cannot read the configuration file: {e.strerror}.") from None
    except ValueError as e:  # also UnicodeDecodeError, JSONDecodeError and TOMLDecodeError
        kind = "TOML" if path.suffix == ".toml" else "JSON (or, with the suffix .toml, TOML)"
        raise StartupError(f"{path}: not valid {kind}: {e}.") from None
    if not isinstance(value, dict):
        raise StartupError(f'{path}: expected an object of settings, such as {{"max_count": 500}}.')
    return value


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Empty variables count as unset. A name similar to a setting is kept, and rejected later as a misspelling. Other
    FHIRSTORE_* variables are ignored: container platforms set some of their own (FHIRSTORE_SERVICE_HOST…)."""
    known = Settings.field_names()
    found: dict[str, Any] = {}
    for name, value in environment.items():
        key = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or key.upper() in RESERVED or not value:
            continue
        if key in known or difflib.get_close_matches(key, known, 1, 0.8):
            found[key] = value
    return found
