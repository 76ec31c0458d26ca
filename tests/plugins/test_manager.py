"""Plugins are found by name or path, checked, and called in the order in which they were named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhirstore.errors import StartupError
from fhirstore.plugins import CompoundIndex, RequestContext, Write
from fhirstore.plugins.manager import Plugins

MakePackage = Callable[..., Path]
Install = Callable[[str, str], None]

HOOKS = """
from fhirstore.plugins import CompoundIndex, Issue, hookimpl

@hookimpl
def packages():
    return [PATH]

@hookimpl
def indexes():
    return [CompoundIndex("Slot", ("schedule", "start"))]

@hookimpl
def validate(write):
    return [Issue("warning", "informational", NAME)]
"""


def plugin(name: str, package: Path) -> str:
    return HOOKS.replace("PATH", repr(str(package))).replace("NAME", repr(name))


def search_parameter(url: str) -> dict[str, object]:
    return {
        "resourceType": "SearchParameter",
        "url": url,
        "name": "x",
        "code": "x",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.name.text",
    }


def validated(plugins: Plugins) -> Any:
    return plugins.hook.validate(
        request=RequestContext(), write=Write("create", "Patient", "1", {}), requirements=[], context=plugins.contexts()
    )


def test_without_plugins_there_is_nothing_and_hooks_answer_nothing() -> None:
    plugins = Plugins.load([])
    assert (plugins.packages(), plugins.compounds(), plugins.describe()) == ([], (), [])
    assert validated(plugins) == []


def test_a_folder_with_a_package_is_a_plugin(package: MakePackage) -> None:
    folder = package("clinic", search_parameter("http://p/1"))
    plugins = Plugins.load([str(folder)])
    assert [(p.name, p.version) for p in plugins.packages()] == [("clinic", "1.0.0")]
    assert plugins.describe()[0].search_parameters == ("http://p/1",)


def test_an_installed_plugin_is_found_by_name(package: MakePackage, installed: Install) -> None:
    folder = package("clinic.package", search_parameter("http://p/1"))
    installed("clinic", plugin("clinic", folder))
    plugins = Plugins.load(["clinic"])
    [told] = plugins.describe()
    assert (told.name, told.source) == ("clinic", "dist-clinic 2.1")
    assert told.packages == ("clinic.package 1.0.0",)
    assert set(told.hooks) == {"packages", "indexes", "validate"}
    assert told.compounds == plugins.compounds() == (CompoundIndex("Slot", ("schedule", "start")),)


def test_a_checkout_is_the_installed_plugin_it_declares(
    package: MakePackage, installed: Install, tmp_path: Path
) -> None:
    installed("clinic", plugin("clinic", package("clinic.package")))
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text('[project.entry-points."fhirstore.plugins"]\nclinic = "clinic_module"\n')
    assert [told.name for told in Plugins.load([str(checkout)]).describe()] == ["clinic"]


def test_a_checkout_that_is_not_installed_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project.entry-points."fhirstore.plugins"]\nabsent = "absent"\n')
    with pytest.raises(StartupError, match=r"absent .* must be installed first: pip install -e"):
        Plugins.load([str(tmp_path)])


def test_a_checkout_without_plugin_says_so(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with pytest.raises(StartupError, match=r"pyproject\.toml: no plugin is declared under"):
        Plugins.load([str(tmp_path)])
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(StartupError, match=r"pyproject\.toml: .*line 1"):
        Plugins.load([str(tmp_path)])


def test_an_unknown_name_lists_the_known_ones(package: MakePackage, installed: Install) -> None:
    installed("clinic", plugin("clinic", package("clinic.package")))
    with pytest.raises(StartupError, match=r"--plugin nope: not found\. .* \(installed: .*clinic"):
        Plugins.load(["nope"])


def test_a_folder_without_package_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"package\.json"):
        Plugins.load([str(tmp_path)])


def test_a_broken_file_of_a_package_is_named(package: MakePackage) -> None:
    folder = package("clinic")
    (folder / "broken.json").write_text("{")
    with pytest.raises(StartupError, match=r"broken\.json"):
        Plugins.load([str(folder)])


def test_a_plugin_that_cannot_be_imported_is_named(installed: Install) -> None:
    installed("faulty", "import no_such_module_at_all")
    with pytest.raises(StartupError, match=r"plugin faulty \(dist-faulty 2\.1\).*ModuleNotFoundError"):
        Plugins.load(["faulty"])


def test_a_plugin_named_twice_is_loaded_once(package: MakePackage, installed: Install) -> None:
    installed("clinic", plugin("clinic", package("clinic.package")))
    assert len(Plugins.load(["clinic", "clinic"]).describe()) == 1


@pytest.mark.parametrize("order", [["one", "two"], ["two", "one"]])
def test_the_plugin_named_first_is_called_first(package: MakePackage, installed: Install, order: list[str]) -> None:
    for name in ("one", "two"):
        installed(name, plugin(name, package(f"{name}.package")))
    plugins = Plugins.load(order)
    answers = validated(plugins)
    assert [issue.diagnostics for [issue] in answers] == order
    assert [told.name for told in plugins.describe()] == order


def test_one_package_brought_by_two_plugins_counts_once(package: MakePackage, installed: Install) -> None:
    folder = package("common")
    for name in ("one", "two"):
        installed(name, plugin(name, folder))
    plugins = Plugins.load(["one", "two"])
    assert len(plugins.packages()) == len(plugins.compounds()) == 1


def test_one_package_in_two_versions_stops_the_start(package: MakePackage) -> None:
    one, two = package("a", name="common", version="1.0.0"), package("b", name="common", version="1.1.0")
    with pytest.raises(
        StartupError, match=r"package common: plugin .*/a contains version 1\.0\.0, plugin .*/b contains 1\.1"
    ):
        Plugins.load([str(one), str(two)])
