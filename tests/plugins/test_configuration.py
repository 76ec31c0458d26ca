"""The configuration of a plugin: declared, checked by the names of its options, read back as a typed object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from fhirstore.errors import StartupError
from fhirstore.plugins import OptionError, PluginContext, hookimpl, option
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins


def even(number: int) -> None:
    if number % 2:
        raise ValueError("an even number")


@dataclass(frozen=True)
class ClinicConfiguration:
    reminders: bool = option(True, "Send reminders to patients.")
    pause_s: float = option(5.0, "Seconds between two reminders.", above=0, maximum=60)
    beds: int = option(10, "Beds of the clinic.", minimum=1, check=even)
    language: Literal["fr", "en"] = option("fr", "Language of reminders.")
    url: str | None = option(None, "Server that sends reminders.")
    key: Path | None = option(None, "Key of the server, PEM.")

    def __post_init__(self) -> None:
        if self.key is not None and self.url is None:
            raise OptionError("key", "requires clinic.url, which is not set.")
        if self.url == "http://never":
            raise ValueError("these options do not go together.")


class Clinic:
    def __init__(self, declared: object = ClinicConfiguration) -> None:
        self._declared = declared

    @hookimpl
    def configuration(self) -> Any:
        return self._declared


def plugins(declared: object = ClinicConfiguration) -> Plugins:
    return Plugins([LoadedPlugin("clinic", "test", Clinic(declared))])


def configured(*entries: str) -> ClinicConfiguration:
    return plugins().contexts(entries).of("clinic").configuration(ClinicConfiguration)


def refusal(*entries: str) -> str:
    with pytest.raises(StartupError) as caught:
        configured(*entries)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_without_settings_all_options_have_their_defaults() -> None:
    assert configured() == ClinicConfiguration(True, 5.0, 10, "fr", None, None)


def test_values_have_the_declared_types() -> None:
    found = configured(
        "clinic.reminders=off",
        "clinic.pause_s = 2.5",
        "clinic.beds=4",
        "clinic.language=en",
        "clinic.url=http://a/?b=c",
        "clinic.key=/etc/key.pem",
    )
    assert found == ClinicConfiguration(False, 2.5, 4, "en", "http://a/?b=c", Path("/etc/key.pem"))


def test_an_empty_value_is_none_if_the_type_allows_it() -> None:
    assert configured("clinic.url=").url is None
    assert "clinic.beds: '' is not allowed" in refusal("clinic.beds=")


def test_the_last_entry_of_an_option_counts() -> None:
    assert configured("clinic.beds=4", "clinic.beds=6").beds == 6


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("clinic.reminders=maybe", "clinic.reminders: 'maybe' is not allowed. Use on or off (default: on)."),
        ("clinic.reminders=True", "clinic.reminders: 'True' is not allowed. Use on or off (default: on)."),
        ("clinic.pause_s=0", "clinic.pause_s: '0' is not allowed. Use a number greater than 0 and of at most 60"),
        ("clinic.pause_s=nan", "clinic.pause_s: 'nan' is not allowed."),
        ("clinic.pause_s=soon", "clinic.pause_s: 'soon' is not allowed."),
        ("clinic.beds=1.5", "clinic.beds: '1.5' is not allowed. Use a whole number of at least 1 (default: 10)."),
        ("clinic.beds=0", "clinic.beds: '0' is not allowed."),
        ("clinic.beds=3", "clinic.beds: '3' is not allowed. Use an even number (default: 10)."),
        ("clinic.language=de", "clinic.language: 'de' is not allowed. Use fr or en (default: fr)."),
        ("clinic.key=x", "clinic.key: requires clinic.url, which is not set."),
        ("clinic.url=http://never", "clinic: these options do not go together."),
        ("clinic.bed=2", "clinic.bed: unknown option. Did you mean clinic.beds? Options: clinic.reminders, "),
        ("clinics.beds=2", "clinics.beds: plugin clinics is not loaded. Loaded plugins: clinic."),
    ],
)
def test_a_wrong_entry_is_refused_with_its_key_and_what_is_allowed(entry: str, text: str) -> None:
    assert refusal(entry).startswith(f"plugin_options, {text}")


@pytest.mark.parametrize("entry", ["clinic.beds", "beds=2", "=2", "clinic.=2", ".beds=2", "x"])
def test_an_entry_of_another_form_is_refused(entry: str) -> None:
    assert refusal(entry).startswith(f"plugin_options: {entry!r} is not an option. Use PLUGIN.NAME=VALUE")


def test_a_plugin_without_options_has_none() -> None:
    with pytest.raises(StartupError, match=r"plugin plain has no options\."):
        Plugins([LoadedPlugin("plain", "test", object())]).configure(("plain.x=1",))


def test_another_class_is_not_the_configuration() -> None:
    context: PluginContext = plugins().contexts().of("clinic")
    with pytest.raises(LookupError, match="does not return Path"):
        context.configuration(Path)


@dataclass
class Mutable:
    beds: int = option(1, "Beds.")


@dataclass(frozen=True)
class Undescribed:
    beds: int = 1


@dataclass(frozen=True)
class Strange:
    beds: complex = option(1, "Beds.")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (Mutable, "plugin clinic: hook configuration returned .*Mutable.*Return a frozen dataclass"),
        ({"beds": 1}, "plugin clinic: hook configuration returned .*Return a frozen dataclass"),
        (Undescribed, r"plugin clinic: the field beds of Undescribed is not an option\. Declare it with option"),
        (Strange, "plugin clinic: the option beds: the type .*complex.* is not supported"),
    ],
)
def test_a_wrong_declaration_is_refused(declared: object, text: str) -> None:
    with pytest.raises(StartupError, match=text):
        plugins(declared)


def test_options_are_described_with_their_values() -> None:
    [clinic] = plugins().describe(("clinic.reminders=off", "clinic.pause_s=2.5"))
    assert [(o.name, o.allowed, o.default, o.value) for o in clinic.options] == [
        ("clinic.reminders", "on or off", "on", "off"),
        ("clinic.pause_s", "a number greater than 0 and of at most 60", "5", "2.5"),
        ("clinic.beds", "a whole number of at least 1", "10", "10"),
        ("clinic.language", "fr or en", "fr", "fr"),
        ("clinic.url", "a text", "", ""),
        ("clinic.key", "a path", "", ""),
    ]
    assert all(o.description.endswith(".") for o in clinic.options)
