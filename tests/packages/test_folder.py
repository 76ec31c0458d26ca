from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.packages import profile, tgz

from fhirstore.definitions.packages import parse_package, read_files
from fhirstore.errors import StartupError
from fhirstore.packages.folder import InstallationRecord, PackageFolder, file_hashes


def put(folder: PackageFolder, where: Path, version: str = "1.0.0", name: str = "test.a", **more: object) -> None:
    files = read_files(tgz(where / "x.tgz", name, version, profile(**more)))
    folder.put(parse_package("x.tgz", files), files, InstallationRecord("x.tgz", file_hashes(files)))


@pytest.fixture
def folder(tmp_path: Path) -> PackageFolder:
    return PackageFolder(tmp_path / "packages")


def labels(folder: PackageFolder) -> list[str]:
    return [e.label for e in folder.entries()]


def test_a_folder_that_is_not_there_holds_nothing(folder: PackageFolder) -> None:
    assert folder.entries() == []
    assert not folder.path.exists()


def test_several_versions_stand_side_by_side_the_latest_first(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        for version in ("1.9.0", "1.10.0", "1.10.0-rc"):
            put(folder, tmp_path, version)
        put(folder, tmp_path, name="a")
    assert labels(folder) == ["a#1.0.0", "test.a#1.10.0", "test.a#1.10.0-rc", "test.a#1.9.0"]
    assert [folder.read(e).version for e in folder.entries()] == ["1.0.0", "1.10.0", "1.10.0-rc", "1.9.0"]


def test_what_is_put_again_is_replaced(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
        put(folder, tmp_path, id="other")
    (entry,) = folder.entries()
    assert folder.read(entry).resources[0]["id"] == "other"
    assert not list(folder.faults(entry))


def test_what_is_removed_is_gone_and_leaves_nothing(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
        folder.remove(folder.entries()[0])
    assert [p.name for p in folder.path.iterdir() if p.is_dir()] == []


def test_a_process_killed_before_the_rename_leaves_nothing_that_counts(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
    (folder.path / "test.a#1.0.0").rename(folder.path / ".new-0123")
    assert labels(folder) == []
    with folder.changing():
        pass
    assert not (folder.path / ".new-0123").exists()


def test_a_process_killed_between_the_renames_loses_nothing(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
    (folder.path / "test.a#1.0.0").rename(folder.path / ".old-test.a#1.0.0")
    with folder.changing():
        assert labels(folder) == ["test.a#1.0.0"]


def test_each_file_is_compared_with_what_was_installed(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
    (entry,) = folder.entries()
    files = entry.path / "package"
    (files / "package.json").write_text("{}")
    (files / "StructureDefinition-named-patient.json").unlink()
    (files / "more.json").write_text("{}")
    assert [(Path(t.split(": ")[0]).name, t.split(": ")[1]) for t in folder.faults(entry)] == [
        ("StructureDefinition-named-patient.json", "the file is missing"),
        ("package.json", "the file was changed after the installation"),
        ("more.json", "the file was added"),
    ]


def test_a_package_that_another_tool_put_there_is_read_and_distinguished(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
    (folder.path / "test.a#1.0.0" / "installed.json").unlink()
    (entry,) = folder.entries()
    assert folder.read(entry).name == "test.a"
    assert "another tool installed the package" in next(folder.faults(entry))


def test_a_folder_with_the_wrong_name_and_a_broken_record_are_refused(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
    moved = (folder.path / "test.a#1.0.0").rename(folder.path / "test.a#2.0.0")
    with pytest.raises(StartupError, match=r"test\.a#2\.0\.0: the folder contains test\.a 1\.0\.0"):
        folder.read(folder.entries()[0])
    (moved / "installed.json").write_text(json.dumps({"source": 1}))
    with pytest.raises(StartupError, match=r"installed\.json: the record of the installation cannot be read"):
        folder.entries()


def test_a_damaged_package_is_reported_with_its_file_and_what_to_do(folder: PackageFolder, tmp_path: Path) -> None:
    with folder.changing():
        put(folder, tmp_path)
    (entry,) = folder.entries()
    (entry.path / "package" / "StructureDefinition-named-patient.json").write_text("{")
    with pytest.raises(StartupError, match=r"named-patient\.json: not valid JSON.*remove test\.a@1\.0\.0 --force"):
        folder.read(entry)


def test_where_nothing_can_be_written_the_message_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = PackageFolder(tmp_path / "file" / "packages")
    with pytest.raises(StartupError, match="the folder of packages cannot be changed"), folder.changing():
        pass


def test_a_file_that_cannot_be_written_leaves_nothing(
    folder: PackageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with folder.changing():
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StartupError, match="cannot be written: No space left on device"):
            put(folder, tmp_path)
    assert [p for p in folder.path.iterdir() if p.is_dir()] == []
