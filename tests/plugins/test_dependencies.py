"""A package's dependencies are the R4 core or packages that are loaded."""

from __future__ import annotations

import pytest

from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError
from fhirstore.plugins.dependencies import check_dependencies


def package(name: str, version: str = "1.0.0", **dependencies: str) -> Package:
    return Package(name, version, {key.replace("_", "."): value for key, value in dependencies.items()}, ())


@pytest.mark.parametrize("version", ["4.0.1", "4.0.x", "4.x", "latest", "current"])
def test_the_core_is_always_there(version: str) -> None:
    check_dependencies([package("a", hl7_fhir_r4_core=version)])


def test_a_dependency_may_be_loaded_in_any_order() -> None:
    check_dependencies([package("a", b="1.1.0"), package("b", "1.1.0")])


@pytest.mark.parametrize(
    ("wanted", "loaded", "message"),
    [
        ("1.1.0", None, "package a 1.0.0 depends on b 1.1.0, which is not loaded; .*--plugin"),
        ("1.1.0", "1.2.0", "depends on b 1.1.0, which is loaded in version 1.2.0"),
        ("1.1.x", "1.2.0", "depends on b 1.1.x, which is loaded in version 1.2.0"),
    ],
)
def test_a_dependency_that_is_not_satisfied_stops_the_start(wanted: str, loaded: str | None, message: str) -> None:
    packages = [package("a", b=wanted), *([package("b", loaded)] if loaded else [])]
    with pytest.raises(StartupError, match=message):
        check_dependencies(packages)


def test_another_release_of_the_core_stops_the_start() -> None:
    with pytest.raises(StartupError, match=r"hl7\.fhir\.r4\.core 4\.3\.0, which is loaded in version 4\.0\.1"):
        check_dependencies([package("a", hl7_fhir_r4_core="4.3.0")])
