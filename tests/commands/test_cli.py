from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import (
    fhirstore,
    package,
)

from fhirstore import __version__


def test_the_version_is_told() -> None:
    assert fhirstore("--version").output == f"fhirstore {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("serve", "--capability", "none.json"), "none.json"),
        (("serve", "--plugin", "unheard-of"), "unheard-of"),
        (("serve", "--store", "oracle:///x"), "oracle:///x"),
        (("serve", "--validation", "loose"), "one of enforce, warn, off is wanted"),
        (("serve", "--config", "none.json"), "none.json"),
        (("load", "none.ndjson"), "none.ndjson: there is no such file or folder"),
        (("demo",), "no plugin with demo data is loaded"),
    ],
)
def test_what_cannot_start_is_told_in_one_line_and_by_status_2(arguments: tuple[str, ...], wanted: str) -> None:
    done = fhirstore(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_plugins_lists_what_a_package_contributes() -> None:
    done = fhirstore("plugins", "--plugin", package("birthplace"))
    assert done.exit_code == 0
    assert "test.birthplace 1.0.0" in done.stdout
    assert "http://example.org/SearchParameter/birth-city" in done.stdout


def test_plugins_says_when_none_is_loaded() -> None:
    assert "No plugin is loaded" in fhirstore("plugins").stdout


GREETER = """\
import click
from fhirstore.plugins import ProfileRequirement, hookimpl


@hookimpl
def cli(group, validator):
    group.add_command(click.Command("greet", callback=lambda: click.echo("bonjour")))
    group.add_command(click.Command("greeter", callback=lambda: click.echo(str(judged(validator())))))


def judged(judge):
    patient = "http://hl7.org/fhir/StructureDefinition/Patient"
    return [issue.severity for issue in judge({"resourceType": "Patient", "x": 1}, [ProfileRequirement(patient)])]
"""


@pytest.fixture
def _greeter(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin."""
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
def test_the_command_with_the_name_of_a_plugin_needs_no_option_and_can_validate() -> None:
    assert fhirstore("greeter").output == "['error']\n"
