from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import (
    fhirstore,
    package,
)

from fhirstore import __version__


def test_the_version_is_shown() -> None:
    assert fhirstore("--version").output == f"fhirstore {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("serve", "--capability", "none.json"), "none.json"),
        (("serve", "--plugin", "unheard-of"), "unheard-of"),
        (("serve", "--store", "oracle:///x"), "the URL scheme 'oracle'"),
        (("serve", "--validation", "loose"), "Expected one of enforce, warn, off"),
        (("serve", "--config", "none.json"), "none.json"),
        (("load", "none.ndjson"), "none.ndjson: no such file or folder"),
        (("demo",), "no plugin with demo data is loaded"),
    ],
)
def test_a_configuration_error_prints_one_line_and_exits_with_status_2(
    arguments: tuple[str, ...], expected: str
) -> None:
    done = fhirstore(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_plugins_lists_what_a_package_contributes() -> None:
    done = fhirstore("plugins", "--plugin", package("birthplace"))
    assert done.exit_code == 0
    assert "test.birthplace 1.0.0" in done.stdout
    assert "http://example.org/SearchParameter/birth-city" in done.stdout


def test_plugins_reports_when_none_is_loaded() -> None:
    assert "No plugin is loaded" in fhirstore("plugins").stdout


GREETER = """\
import click
from fhirstore.plugins import ProfileRequirement, hookimpl


@hookimpl
def cli(group, validator):
    group.add_command(click.Command("greet", callback=lambda: click.echo("bonjour")))
    group.add_command(click.Command("greeter", callback=lambda: click.echo(str(severities(validator())))))


def severities(validate):
    patient = "http://hl7.org/fhir/StructureDefinition/Patient"
    return [issue.severity for issue in validate({"resourceType": "Patient", "x": 1}, [ProfileRequirement(patient)])]
"""


@pytest.fixture
def _greeter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a plugin with commands."""
    Path("greeter.py").write_text(GREETER)
    info = Path("greeter-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fhirstore.plugins]\ngreeter = greeter\n")
    monkeypatch.syspath_prepend(os.getcwd())


@pytest.mark.usefixtures("_greeter")
def test_a_plugin_can_add_commands() -> None:
    assert fhirstore("--plugin", "greeter", "greet").output == "bonjour\n"
    assert "greet" in fhirstore("--plugin", "greeter", "--help").output
    assert fhirstore("greet").exit_code == 2


@pytest.mark.usefixtures("_greeter")
def test_the_command_with_the_name_of_an_installed_plugin_needs_no_option_and_can_validate() -> None:
    assert fhirstore("greeter").output == "['error']\n"
