from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fhirstore.definitions.packages import DEFAULT, read_package
from fhirstore.errors import StartupError

MANIFEST = {"name": "example.fhir", "version": "1.2.0", "dependencies": {"hl7.fhir.r4.core": "4.0.1"}}
PARAMETER = {"resourceType": "SearchParameter", "id": "p", "url": "http://example.org/p", "version": "1"}
PROFILE = {"resourceType": "StructureDefinition", "url": "http://example.org/profile"}

Files = dict[str, Any]


def as_bytes(content: Any) -> bytes:
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def folder(where: Path, files: Files) -> Path:
    for name, content in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_bytes(content))
    return where


def archive(where: Path, files: Files) -> Path:
    path = where / "package.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            data = as_bytes(content)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


GOOD: Files = {
    "package/package.json": MANIFEST,
    "package/.index.json": b"not even JSON",
    "package/SearchParameter-p.json": PARAMETER,
    "package/StructureDefinition-x.json": PROFILE,
    "package/Patient-x.json": {"resourceType": "Patient", "id": "x"},
    "package/example/Slot-y.json": PARAMETER | {"url": "http://example.org/other"},
    "package/other/notes.txt": b"notes",
}


@pytest.mark.parametrize("make", [folder, archive])
def test_a_package_is_its_manifest_and_its_conformance_resources(tmp_path: Path, make: Any) -> None:
    found = read_package(make(tmp_path, GOOD))
    assert (found.name, found.version, found.dependencies) == ("example.fhir", "1.2.0", {"hl7.fhir.r4.core": "4.0.1"})
    assert found.resources == (PARAMETER, PROFILE)
    assert found.where[("SearchParameter", "http://example.org/p")].endswith(": SearchParameter-p.json")


def test_a_folder_may_hold_its_files_beside_a_bare_manifest(tmp_path: Path) -> None:
    found = read_package(str(folder(tmp_path, {"package.json": MANIFEST, "p.json": PARAMETER})))
    assert found.resources == (PARAMETER,)


def test_a_byte_order_mark_is_skipped_and_fractions_stay_exact(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbf{"resourceType": "ValueSet", "url": "urn:v", "x": 1.50}'
    found = read_package(folder(tmp_path, {"package.json": MANIFEST, "v.json": text}))
    assert str(found.resources[0]["x"]) == "1.50"
    assert isinstance(found.resources[0]["x"], Decimal)


def test_a_naming_system_needs_no_url(tmp_path: Path) -> None:
    naming = {"resourceType": "NamingSystem", "id": "n"}
    assert read_package(folder(tmp_path, {"package.json": MANIFEST, "n.json": naming})).resources == (naming,)


def test_two_versions_of_one_url_may_stand_side_by_side(tmp_path: Path) -> None:
    files = {"package.json": MANIFEST, "a.json": PARAMETER, "b.json": PARAMETER | {"version": "2"}}
    assert len(read_package(folder(tmp_path, files)).resources) == 2


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"p.json": PARAMETER}, "package.json is missing"),
        ({"package.json": b"{"}, "package.json: not valid JSON"),
        ({"package.json": []}, "package.json: a JSON object is required"),
        ({"package.json": {"version": "1"}}, "package.json: name: a string is required, found None"),
        ({"package.json": {"name": "n"}}, "package.json: version: a string is required, found None"),
        ({"package.json": {"name": "n", "version": 1}}, "package.json: version: a string is required, found 1"),
        ({"package.json": MANIFEST | {"dependencies": ["x"]}}, "package.json: dependencies"),
        ({"package.json": MANIFEST | {"fhirVersions": "4.0.1"}}, "package.json: fhirVersions: an array"),
        ({"package.json": MANIFEST, "p.json": PARAMETER | {"version": 1}}, "p.json: version: a string is required"),
        ({"package.json": MANIFEST, "p.json": b'{"a": '}, "p.json: not valid JSON"),
        ({"package.json": MANIFEST, "p.json": b"\xff\xfe"}, "p.json: not valid JSON"),
        ({"package.json": MANIFEST, "p.json": {"resourceType": "ValueSet"}}, "p.json: url: a string is required"),
        ({"package.json": MANIFEST, "p.json": PARAMETER, "q.json": PARAMETER}, "q.json: url: http://example.org/p is"),
    ],
)
def test_a_defect_is_reported_with_file_and_key(tmp_path: Path, files: Files, expected: str) -> None:
    with pytest.raises(StartupError) as e:
        read_package(folder(tmp_path, files))
    assert str(tmp_path) in str(e.value)
    assert expected in str(e.value)


def test_a_missing_package_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"nowhere\.tgz: no such file"):
        read_package(tmp_path / "nowhere.tgz")


@pytest.mark.parametrize(
    "data",
    [b"no archive", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b broken"],
    ids=["text", "gzip of no tar", "gzip header only"],
)
def test_what_is_no_archive_is_reported(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tgz"
    path.write_bytes(data)
    with pytest.raises(StartupError, match=r"x\.tgz: not a readable \.tgz archive"):
        read_package(path)


@pytest.mark.parametrize("missing", [4, 40, 400])
def test_a_truncated_archive_is_reported(tmp_path: Path, missing: int) -> None:
    path = archive(tmp_path, GOOD)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(StartupError, match="not a readable"):
        read_package(path)


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "package/../../evil.json"])
def test_a_name_that_leads_out_of_an_archive_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupError, match="points outside of the package"):
        read_package(archive(tmp_path, GOOD | {name: PARAMETER}))


def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    inside, outside = folder(tmp_path / "inside", {"package.json": MANIFEST}), folder(tmp_path, {"p.json": PARAMETER})
    (inside / "p.json").symlink_to(outside / "p.json")
    with pytest.raises(StartupError, match="the link points outside"):
        read_package(inside)


@pytest.mark.parametrize("make", [folder, archive])
@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        ("file_bytes", 50, "the limit is 50 .*max_package_file_bytes"),
        ("bytes", 250, "the package exceeds the limit of .*max_package_bytes"),
        ("files", 2, "the package exceeds the limit of 2 files .*max_package_files"),
    ],
)
def test_absurd_sizes_are_refused(tmp_path: Path, make: Any, limit: str, value: int, expected: str) -> None:
    with pytest.raises(StartupError, match=expected):
        read_package(make(tmp_path, GOOD), replace(DEFAULT, **{limit: value}))


def test_an_archive_that_unpacks_to_many_times_its_size_is_refused(tmp_path: Path) -> None:
    bomb = archive(tmp_path, GOOD | {"package/other/zeros.txt": bytes(20_000_000)})
    with pytest.raises(StartupError, match=r"more than 200 times its size .*max_package_ratio"):
        read_package(bomb)
    assert read_package(bomb, replace(DEFAULT, ratio=2000)).name == "example.fhir"


def test_a_bomb_in_the_headers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("package/" + "a" * 20_000_000))
    with pytest.raises(StartupError, match="times its size"):
        read_package(path)


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        (tarfile.SYMTYPE, "package/evil.json: links are not allowed in a package \\(target: '../../secret'\\)"),
        (tarfile.LNKTYPE, "package/evil.json: links are not allowed in a package \\(target: '../../secret'\\)"),
        (tarfile.CHRTYPE, "package/evil.json: neither a file nor a folder"),
        (tarfile.FIFOTYPE, "package/evil.json: neither a file nor a folder"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, type: bytes, expected: str) -> None:
    evil = tarfile.TarInfo("package/evil.json")
    evil.type, evil.linkname = type, "../../secret"
    path = archive(tmp_path, GOOD)
    with tarfile.open(tmp_path / "evil.tgz", "w:gz") as out, tarfile.open(path) as good:
        for member in good:
            out.addfile(member, good.extractfile(member))
        out.addfile(evil)
    with pytest.raises(StartupError, match=expected):
        read_package(tmp_path / "evil.tgz")


@pytest.mark.parametrize("name", ["package/a\x1b[2J.json", "package/a\nb.json", "package\\..\\evil.json"])
def test_a_name_that_would_command_a_terminal_or_another_system_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupError, match="the file name is not allowed") as e:
        read_package(archive(tmp_path, GOOD | {name: PARAMETER}))
    assert str(e.value).isprintable()


def test_a_file_that_an_archive_holds_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("package/p.json"))
    with pytest.raises(StartupError, match=r"p\.json: the archive contains this file twice"):
        read_package(path)


@pytest.mark.parametrize("key", ["fhirVersions", "fhir-version-list"])
@pytest.mark.parametrize(("versions", "good"), [(["4.0.1"], True), (["5.0.0", "4.0.1"], True), (["5.0.0"], False)])
def test_a_package_for_another_release_of_fhir_is_refused(
    tmp_path: Path, key: str, versions: list[str], good: bool
) -> None:
    path = folder(tmp_path, {"package.json": MANIFEST | {key: versions}})
    if good:
        assert read_package(path).name == "example.fhir"
    else:
        with pytest.raises(StartupError, match=rf"package\.json: {key}: the package is for FHIR 5\.0\.0"):
            read_package(path)


def test_a_size_below_zero_is_refused(tmp_path: Path) -> None:
    head = bytearray(tarfile.TarInfo("package/p.json").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\xff" * 11 + b"\x00"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    (tmp_path / "x.tgz").write_bytes(gzip.compress(bytes(head) + bytes(10240)))
    with pytest.raises(StartupError, match=r"p\.json: neither a file nor a folder"):
        read_package(tmp_path / "x.tgz")


def test_the_digest_changes_with_the_contents(tmp_path: Path) -> None:
    one = read_package(folder(tmp_path / "a", {"package.json": MANIFEST, "p.json": PARAMETER})).digest
    assert one == read_package(folder(tmp_path / "b", {"package.json": MANIFEST, "p.json": PARAMETER})).digest
    assert one != read_package(folder(tmp_path / "c", {"package.json": MANIFEST, "q.json": PARAMETER})).digest
