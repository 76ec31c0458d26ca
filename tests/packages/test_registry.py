from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.packages import profile, tgz
from support.ports import free_port
from support.registry import Registry

from fhirstore.errors import StartupError
from fhirstore.packages.names import PackageRequest
from fhirstore.packages.registry import PackageRegistry
from fhirstore.settings import Settings


@pytest.fixture
def client(registry: Registry) -> Iterator[PackageRegistry]:
    with closing(PackageRegistry(registry.url, Settings())) as client:
        yield client


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tgz(tmp_path / "a.tgz", "test.a", "1.0.0", profile())


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("1.9.0", "1.9.0"), ("1.x", "1.10.0"), ("1.9.x", "1.9.0"), ("latest", "2.0.0-rc")],
)
def test_of_several_versions_that_do_the_latest_is_found(
    registry: Registry, client: PackageRegistry, archive: Path, wanted: str, found: str
) -> None:
    for version in ("1.10.0", "1.9.0", "2.0.0-rc"):
        registry.offer("test.a", version, archive)
    assert client.find(PackageRequest("test.a", wanted)).version == found


def test_the_archive_is_fetched_through_redirections(
    registry: Registry, client: PackageRegistry, archive: Path, tmp_path: Path
) -> None:
    registry.offer("test.a", "1.0.0", archive)
    registry.pages["/elsewhere"] = registry.pages["/test.a/1.0.0"]
    registry.pages["/test.a/1.0.0"] = (302, b"/elsewhere")
    client.fetch(client.find(PackageRequest("test.a", "1.0.0")), tmp_path / "got.tgz")
    assert (tmp_path / "got.tgz").read_bytes() == archive.read_bytes()


def test_without_a_url_the_archive_is_at_name_and_version(
    registry: Registry, client: PackageRegistry, archive: Path, tmp_path: Path
) -> None:
    registry.offer("test.a", "1.0.0", archive, dist={})
    client.fetch(client.find(PackageRequest("test.a", "1.0.0")), tmp_path / "got.tgz")
    assert registry.asked == ["/test.a", "/test.a/1.0.0"]


@pytest.mark.parametrize("dist", [{"shasum": "0" * 40}, {"integrity": "sha512-AAAA"}, {"integrity": "sha512-?"}])
def test_an_archive_that_is_not_the_listed_one_is_refused(
    registry: Registry, client: PackageRegistry, archive: Path, tmp_path: Path, dist: dict[str, Any]
) -> None:
    registry.offer("test.a", "1.0.0", archive, dist=dist)
    with pytest.raises(StartupError, match=r"1\.0\.0: the .* of the archive is .*, but the registry states"):
        client.fetch(client.find(PackageRequest("test.a", "1.0.0")), tmp_path / "got.tgz")


def test_a_download_that_is_too_large_is_given_up(registry: Registry, archive: Path, tmp_path: Path) -> None:
    registry.offer("test.a", "1.0.0", archive)
    with (
        closing(PackageRegistry(registry.url, Settings(max_package_bytes=100))) as client,
        pytest.raises(StartupError, match="exceeds the limit of 100 bytes"),
    ):
        client.fetch(client.find(PackageRequest("test.a", "1.0.0")), tmp_path / "got.tgz")


def test_what_the_registry_has_not_is_named_with_what_it_has(
    registry: Registry, client: PackageRegistry, archive: Path
) -> None:
    registry.offer("test.a", "1.0.0", archive)
    registry.offer("test.a", "1.1.0", archive)
    with pytest.raises(StartupError, match=r"does not have this version of test\.a\. Available: 1\.0\.0, 1\.1\.0"):
        client.find(PackageRequest("test.a", "9.9.9"))
    with pytest.raises(StartupError, match=r"test\.b: .* does not have this package"):
        client.find(PackageRequest("test.b", "1.0.0"))
    with pytest.raises(StartupError, match="does not have the build current"):
        client.find(PackageRequest("test.a", "current"))


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b"", "the registry of packages answered 500"),
        (200, b"<html>", "not a list of the versions"),
        (200, b"[]", "`versions` is missing"),
        (
            200,
            json.dumps({"versions": {"1.0.0": None}}).encode(),
            r"does not have this version of test\.a\. Available: none",
        ),
        (302, b"/test.a", "cannot be reached"),
    ],
)
def test_a_registry_that_answers_something_else_is_reported(
    registry: Registry, client: PackageRegistry, status: int, body: bytes, message: str
) -> None:
    registry.pages["/test.a"] = (status, body)
    with pytest.raises(StartupError, match=message):
        client.find(PackageRequest("test.a", "1.0.0"))


def test_a_registry_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        closing(PackageRegistry(f"http://127.0.0.1:{free_port()}", Settings())) as client,
        pytest.raises(StartupError, match=r"cannot be reached: .*\. Check the settings package_registry"),
    ):
        client.find(PackageRequest("test.a", "1.0.0"))
