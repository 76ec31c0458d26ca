from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.settings_load import load_settings


def test_without_sources_everything_has_its_default() -> None:
    assert load_settings(environment={}) == Settings()


def test_a_json_file_sets_settings(tmp_path: Path) -> None:
    file = tmp_path / "fhirstore.json"
    file.write_text(json.dumps({"max_count": 20, "plugins": ["sas"], "search_timeout_s": 2.5, "base_url": None}))
    settings = load_settings(environment={}, file=file)
    assert (settings.max_count, settings.plugins, settings.search_timeout_s) == (20, ("sas",), 2.5)


def test_a_toml_file_sets_settings(tmp_path: Path) -> None:
    file = tmp_path / "fhirstore.toml"
    file.write_text('validation = "warn"\ncors_origins = ["*"]\n')
    settings = load_settings(environment={}, file=file)
    assert (settings.validation, settings.cors_origins) == ("warn", ("*",))


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"max_nesting": 7}')
    assert load_settings(environment={"FHIRSTORE_CONFIG": str(file)}).max_nesting == 7


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"max_count": 20, "default_count": 5}')
    settings = load_settings(environment={"FHIRSTORE_MAX_COUNT": "30"}, file=file)
    assert (settings.max_count, settings.default_count) == (30, 5)


def test_the_command_line_wins_over_the_environment() -> None:
    settings = load_settings({"store": "sqlite:///a.db", "base_url": None}, {"FHIRSTORE_STORE": "sqlite:///b.db"})
    assert settings.store == "sqlite:///a.db"


def test_lists_in_the_environment_are_split_at_commas() -> None:
    assert load_settings(environment={"FHIRSTORE_PLUGINS": "sas, ./mine"}).plugins == ("sas", "./mine")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings(environment={"FHIRSTORE_BASE_URL": "", "FHIRSTORE_MAX_COUNT": ""}) == Settings()


def test_variables_of_container_platforms_are_left_alone() -> None:
    variables = {"FHIRSTORE_PORT": "tcp://10.0.0.1:80", "FHIRSTORE_SERVICE_HOST": "10.0.0.1"}
    assert load_settings(environment=variables) == Settings()


def test_every_setting_can_come_from_the_environment() -> None:
    url = "https://example.org/fhir"
    example = {
        "timezone": "UTC",
        "base_url": url,
        "package_registry": url,
        "terminology_server": url,
        "validation": "off",
        "declared_profiles": "warn",
        "claimed_profiles": "off",
        "unknown_profiles": "enforce",
        "profile_policies": "Slot=warn",
        "text_only_severity": "warning",
        "mongo_transactions": "on",
        "tls_client": "required",
        "trusted_proxies": "10.0.0.0/8",
        "operator_pages": "all",
    }
    for field in fields(Settings):
        value = example.get(field.name, "7")
        loaded = getattr(load_settings(environment={f"FHIRSTORE_{field.name.upper()}": value}), field.name)
        assert loaded in (value, 7, 7.0, (value,)), field.name


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("max_count", "many", "a whole number of at least 1 is wanted; the default is 1000"),
        ("max_count", "0", "a whole number of at least 1 is wanted"),
        ("max_count", "2.5", "a whole number of at least 1 is wanted"),
        ("cache_bytes", "-1", "a whole number of at least 0 is wanted"),
        ("write_timeout_s", "-1", "a number greater than 0 is wanted"),
        ("write_timeout_s", "nan", "a number greater than 0 is wanted"),
        ("validation", "loose", "one of enforce, warn, off is wanted"),
        ("profile_policies", "Slot=warn,Patient", "'Patient': a type or a profile with enforce, warn or off is wanted"),
        ("profile_policies", "Slot=loose", "'Slot=loose': a type or a profile with enforce"),
        ("text_only_severity", "off", "one of error, warning is wanted"),
        ("timezone", "Europe/Lutece", "the name of a time zone is wanted"),
        ("base_url", "example.org", "an absolute URL is wanted"),
        ("package_registry", "example.org", "an absolute URL is wanted"),
        ("tls_client", "on", "one of off, optional, required is wanted"),
        ("client_cert_header", "X_Cert", "the name of a header is wanted, letters, digits and hyphens"),
        ("trusted_proxies", "::1,proxy", "'proxy': an address or a network is wanted, such as 127.0.0.1"),
        ("trusted_proxies", "10.0.0.1/8", "'10.0.0.1/8': an address or a network is wanted"),
    ],
)
def test_a_wrong_value_is_refused_with_its_source_and_what_would_be_right(key: str, value: str, wanted: str) -> None:
    with pytest.raises(StartupError) as refused:
        load_settings(environment={f"FHIRSTORE_{key.upper()}": value})
    assert f"environment variable FHIRSTORE_{key.upper()}: {value!r} is refused: {wanted}" in str(refused.value)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"max_count": True}, "key 'max_count': True is refused: a whole number"),
        ({"max_count": 2.5}, "key 'max_count': 2.5 is refused: a whole number"),
        ({"plugins": [1]}, "key 'plugins': [1] is refused: a text is wanted"),
        ({"store": None}, "key 'store': None is refused: a text is wanted"),
        ({"max_cuont": 1}, "key 'max_cuont': there is no such setting; did you mean 'max_count'?"),
        ({"colour": 1}, "key 'colour': there is no such setting; docs/settings.md lists them all"),
        ([1], "an object of settings is wanted"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, content: object, wanted: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(content))
    with pytest.raises(StartupError) as refused:
        load_settings(environment={}, file=file)
    assert str(refused.value).startswith(str(file))
    assert wanted in str(refused.value)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text("max_count = 3")
    with pytest.raises(StartupError, match=r"c\.json: this is not JSON"):
        load_settings(environment={}, file=file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read: No such file"):
        load_settings(environment={}, file=tmp_path / "none.json")


def test_a_misspelt_variable_is_refused() -> None:
    with pytest.raises(StartupError, match="FHIRSTORE_MAX_COUNTS: there is no such setting; did you mean 'max_count'"):
        load_settings(environment={"FHIRSTORE_MAX_COUNTS": "3"})


def test_the_command_line_is_named_in_a_refusal() -> None:
    with pytest.raises(StartupError, match="command line, --validation: 'x' is refused"):
        load_settings({"validation": "x"}, {})


def test_all_wrong_values_are_named_at_once() -> None:
    with pytest.raises(StartupError) as refused:
        load_settings(environment={"FHIRSTORE_MAX_COUNT": "x", "FHIRSTORE_MAX_NESTING": "y"})
    assert len(str(refused.value).splitlines()) == 2
