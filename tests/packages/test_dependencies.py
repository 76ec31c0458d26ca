"""What packages depend on."""

from __future__ import annotations

import pytest

from fhirstore.definitions.model import Package
from fhirstore.errors import StartupError
from fhirstore.packages.dependencies import check, find, missing, ordered, with_dependencies
from fhirstore.packages.names import PackageRequest, parse_package_request


def package(name: str, version: str = "1.0.0", **dependencies: str) -> Package:
    return Package(name, version, {key.replace("_", "."): value for key, value in dependencies.items()}, ())


@pytest.mark.parametrize("version", ["4.0.1", "4.0.x", "4.x", "latest", "current"])
def test_the_core_is_built_in(version: str) -> None:
    a = package("a", hl7_fhir_r4_core=version)
    check([a], [a], {})


def test_another_release_of_the_core_is_refused() -> None:
    a = package("a", hl7_fhir_r4_core="4.3.0")
    with pytest.raises(StartupError, match=r"a 1\.0\.0 depends on hl7\.fhir\.r4\.core 4\.3\.0, but .* 4\.0\.1"):
        check([a], [a], {"a#1.0.0": frozenset({"hl7.fhir.r4.core@4.3.0"})})


def test_a_dependency_may_stand_in_any_order() -> None:
    packages = [package("a", b="1.1.0"), package("b", "1.1.0")]
    check(packages, packages, {})


@pytest.mark.parametrize(
    ("wanted", "others", "message"),
    [
        ("1.1.0", [], r"package a 1\.0\.0 depends on b 1\.1\.0, which is not available\. .*package add b@1\.1\.0"),
        ("1.1.0", ["1.2.0"], r"depends on b 1\.1\.0, which is available only in version 1\.2\.0\."),
        ("1.1.x", ["1.10.0", "1.2.0"], r"depends on b 1\.1\.x, which is available only in version 1\.2\.0, 1\.10\.0\."),
    ],
)
def test_a_dependency_that_is_missing_is_named_with_what_to_do(wanted: str, others: list[str], message: str) -> None:
    a = package("a", b=wanted)
    with pytest.raises(StartupError, match=message):
        check([a], [a, *(package("b", v) for v in others)], {})


def test_what_was_accepted_as_missing_is_no_fault() -> None:
    a = package("a", b="1.1.0", c="1.0.0")
    with pytest.raises(StartupError, match=r"depends on c 1\.0\.0"):
        check([a], [a], {"a#1.0.0": frozenset({"b@1.1.0"})})
    assert missing(a, [a]) == [PackageRequest("b", "1.1.0"), PackageRequest("c", "1.0.0")]


def test_of_several_versions_that_do_the_latest_is_meant() -> None:
    packages = [package("b", v) for v in ("1.9.0", "1.10.0", "1.10.1-beta", "2.0.0")]
    assert find(packages, "b", "1.x").version == "1.10.1-beta"  # type: ignore[union-attr]
    assert find(packages, "b", "latest").version == "2.0.0"  # type: ignore[union-attr]
    assert find(packages, "b", "3.x") is None


def test_packages_are_ordered_after_what_they_depend_on() -> None:
    a, b, c = package("a", b="1.0.0", c="1.0.0"), package("b", c="1.0.0"), package("c")
    assert ordered([a, b, c], []) == [c, b, a]
    assert ordered([a, b], [c]) == [b, a]


def test_a_circle_of_dependencies_is_refused_and_shown() -> None:
    packages = [package("a", b="1.0.0"), package("b", c="1.0.0"), package("c", b="1.0.0")]
    with pytest.raises(StartupError, match=r"cyclic: b#1\.0\.0 -> c#1\.0\.0 -> b#1\.0\.0"):
        ordered(packages, [])


def test_the_closure_holds_what_is_depended_on_each_once() -> None:
    a, b, c, other = package("a", b="1.0.0", c="1.0.0"), package("b", c="1.0.0"), package("c"), package("x")
    assert with_dependencies([a], [a, b, c, other]) == [a, b, c]


@pytest.mark.parametrize("text", ["", "@1", "../x@1", "a/b@1", "a@../1", "a@1/2", "a@@1", "a b", "a@1\n", "a" * 200])
def test_what_is_no_name_or_version_is_refused(text: str) -> None:
    with pytest.raises(StartupError, match=r"is not a (name|version) of a package"):
        parse_package_request(text)


def test_a_name_without_version_means_the_latest() -> None:
    assert parse_package_request("hl7.fhir.us.core") == ("hl7.fhir.us.core", "latest")
    assert parse_package_request("hl7.fhir.us.core@3.1.x") == ("hl7.fhir.us.core", "3.1.x")
