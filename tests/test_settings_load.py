from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.settings_load import load_settings


def test_without_sources_every_setting_has_its_default() -> None:
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


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings(environment={"FHIRSTORE_BASE_URL": "", "FHIRSTORE_MAX_COUNT": ""}) == Settings()


def test_variables_of_container_platforms_are_ignored() -> None:
    variables = {"FHIRSTORE_PORT": "tcp://10.0.0.1:80", "FHIRSTORE_SERVICE_HOST": "10.0.0.1"}
    assert load_settings(environment=variables) == Settings()


def test_every_setting_can_come_from_the_environment() -> None:
    url = "https://example.org/fhir"
    example = {
        "timezone": "UTC",
        "base_url": url,
        "package_registry": url,
        "package_problems": "refuse",
        "stored_profiles": "off",
        "inactive_resources": "store",
        "referential_integrity": "warn",
        "terminology_server": url,
        "validation": "off",
        "declared_profiles": "warn",
        "claimed_profiles": "off",
        "unknown_profiles": "enforce",
        "questionnaire_responses": "warn",
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
    ("key", "value", "expected"),
    [
        ("max_count", "many", "a whole number of at least 1. Default: 1000."),
        ("max_count", "0", "a whole number of at least 1"),
        ("max_count", "2.5", "a whole number of at least 1"),
        ("cache_bytes", "-1", "a whole number of at least 0"),
        ("write_timeout_s", "-1", "a number greater than 0"),
        ("write_timeout_s", "nan", "a number greater than 0"),
        ("validation", "loose", "one of enforce, warn, off"),
        (
            "profile_policies",
            "Slot=warn,Patient",
            "TYPE=POLICY or CANONICAL=POLICY with enforce, warn or off, such as Slot=warn, not 'Patient'",
        ),
        (
            "profile_policies",
            "Slot=loose",
            "TYPE=POLICY or CANONICAL=POLICY with enforce, warn or off, such as Slot=warn, not 'Slot=loose'",
        ),
        ("text_only_severity", "off", "one of error, warning"),
        ("timezone", "Europe/Lutece", "a time zone, such as Europe/Paris"),
        ("base_url", "example.org", "an absolute URL"),
        ("package_registry", "example.org", "an absolute URL"),
        ("tls_client", "on", "one of off, optional, required"),
        ("client_cert_header", "X_Cert", "a header name of letters, digits and hyphens"),
        ("allowed_hosts", "a.example,https://b.example", "host names without port"),
        ("allowed_hosts", "a.example:8080", "host names without port"),
        ("trusted_proxies", "::1,proxy", "addresses or networks, such as 127.0.0.1 or 10.0.0.0/8, not 'proxy'"),
        ("trusted_proxies", "10.0.0.1/8", "addresses or networks, such as 127.0.0.1 or 10.0.0.0/8, not '10.0.0.1/8'"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_source_and_the_expected_value(
    key: str, value: str, expected: str
) -> None:
    with pytest.raises(StartupError) as error:
        load_settings(environment={f"FHIRSTORE_{key.upper()}": value})
    assert f"environment variable FHIRSTORE_{key.upper()}: {value!r} is not valid. Expected {expected}" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"max_count": True}, "key 'max_count': True is not valid. Expected a whole number"),
        ({"max_count": 2.5}, "key 'max_count': 2.5 is not valid. Expected a whole number"),
        ({"plugins": [1]}, "key 'plugins': [1] is not valid. Expected a string."),
        ({"store": None}, "key 'store': None is not valid. Expected a string."),
        ({"max_cuont": 1}, "key 'max_cuont': unknown setting. Did you mean 'max_count'?"),
        ({"colour": 1}, "key 'colour': unknown setting. See docs/settings.md for the list."),
        ([1], "expected an object of settings"),
    ],
)
def test_an_invalid_file_is_rejected_with_its_name(tmp_path: Path, content: object, expected: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps(content))
    with pytest.raises(StartupError) as error:
        load_settings(environment={}, file=file)
    assert str(error.value).startswith(str(file))
    assert expected in str(error.value)


def test_a_file_that_is_not_json_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text("max_count = 3")
    with pytest.raises(StartupError, match=r"c\.json: not valid JSON"):
        load_settings(environment={}, file=file)


def test_a_missing_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot read the configuration file: No such file"):
        load_settings(environment={}, file=tmp_path / "none.json")


def test_a_misspelt_variable_is_rejected() -> None:
    with pytest.raises(StartupError, match=r"FHIRSTORE_MAX_COUNTS: unknown setting\. Did you mean 'max_count'"):
        load_settings(environment={"FHIRSTORE_MAX_COUNTS": "3"})


def test_an_error_names_the_command_line() -> None:
    with pytest.raises(StartupError, match="command line, --validation: 'x' is not valid"):
        load_settings({"validation": "x"}, {})


def test_all_invalid_values_are_named_at_once() -> None:
    with pytest.raises(StartupError) as error:
        load_settings(environment={"FHIRSTORE_MAX_COUNT": "x", "FHIRSTORE_MAX_NESTING": "y"})
    assert len(str(error.value).splitlines()) == 2


def test_an_invalid_secret_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"page_secret": 271828}')
    with pytest.raises(StartupError, match="page_secret") as error:
        load_settings(environment={}, file=file)
    assert "271828" not in str(error.value)
