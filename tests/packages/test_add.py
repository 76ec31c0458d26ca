"""Installing: all or nothing, and every fault told with its file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.packages import BASE, CORE, parameter, profile, tgz
from support.registry import Registry

from fhirstore.errors import StartupError
from fhirstore.packages.add import AddedPackages, StartResult, add
from fhirstore.packages.folder import PackageFolder
from fhirstore.settings import Settings

Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(file, name, version, *resources, **manifest): the path of a package."""
    return lambda file, *args, **manifest: str(tgz(tmp_path / f"{file}.tgz", *args, **manifest))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(package_folder=str(tmp_path / "packages"))


def install(
    settings: Settings, *sources: str, force: bool = False, strict: bool = False, reason: str | None = None
) -> AddedPackages:
    return add(settings, sources, lambda before, new: StartResult(reason), force=force, strict=strict)


def refused(settings: Settings, *sources: str, strict: bool = False, reason: str | None = None) -> str:
    """The message. Checks that the installed packages are unchanged."""
    folder = Path(settings.package_folder)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}
    with pytest.raises(StartupError) as e:
        install(settings, *sources, strict=strict, reason=reason)
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")}
    assert not [p for p in folder.iterdir() if p.is_dir() and p.name.startswith(".")]
    return str(e.value)


def labels(settings: Settings) -> list[str]:
    return [e.label for e in PackageFolder(settings.package_folder).entries()]


def test_a_package_is_installed_from_a_file_and_a_folder(settings: Settings, make: Make, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "package.json").write_text('{"name": "test.f", "version": "2.0.0"}')
    done = install(settings, make("a", "test.a", "1.0.0", profile()), str(tmp_path / "f"))
    assert [p.label for p in done.installed] == ["test.a#1.0.0", "test.f#2.0.0"]
    assert labels(settings) == ["test.a#1.0.0", "test.f#2.0.0"]


def test_adding_it_again_changes_nothing(settings: Settings, make: Make) -> None:
    file = make("a", "test.a", "1.0.0", profile())
    install(settings, file)
    done = install(settings, file)
    assert ([p.label for p in done.installed], [p.label for p in done.present]) == ([], ["test.a#1.0.0"])


def test_other_contents_under_an_installed_version_are_refused_unless_forced(settings: Settings, make: Make) -> None:
    install(settings, make("a", "test.a", "1.0.0", profile()))
    other = make("b", "test.a", "1.0.0", profile("other"))
    assert "b.tgz: test.a 1.0.0 is installed with different contents. Use --force" in refused(settings, other)
    assert [p.label for p in install(settings, other, force=True).installed] == ["test.a#1.0.0"]


# --- dependencies


def test_a_strict_installation_refuses_a_missing_dependency(settings: Settings, make: Make) -> None:
    said = refused(settings, make("a", "test.a", "1.0.0", dependencies={"test.b": "1.2.0"}), strict=True)
    assert "package test.a 1.0.0 depends on test.b 1.2.0, which is not available" in said
    assert "fhirstore package add test.b@1.2.0" in said
    assert "Without --strict" in said


def test_dependencies_may_be_given_together_in_any_order(settings: Settings, make: Make) -> None:
    a = make("a", "test.a", "1.0.0", profile(base=f"{BASE}/StructureDefinition/base"), dependencies={"test.b": "1.x"})
    b = make("b", "test.b", "1.2.0", profile("base"))
    assert [p.label for p in install(settings, a, b).installed] == ["test.b#1.2.0", "test.a#1.0.0"]


def test_the_record_of_a_package_lists_its_missing_dependencies(settings: Settings, make: Make) -> None:
    done = install(settings, make("a", "test.a", "1.0.0", dependencies={"test.b": "1.2.0"}))
    assert "depends on test.b 1.2.0" in done.warnings[0]
    (entry,) = PackageFolder(settings.package_folder).entries()
    assert entry.record is not None
    assert entry.record.missing == ("test.b@1.2.0",)


def test_a_circle_of_dependencies_is_refused(settings: Settings, make: Make) -> None:
    a = make("a", "test.a", "1.0.0", dependencies={"test.b": "1.0.0"})
    b = make("b", "test.b", "1.0.0", dependencies={"test.a": "1.0.0"})
    assert "cyclic: test.a#1.0.0 -> test.b#1.0.0 -> test.a#1.0.0" in refused(settings, a, b)


@pytest.mark.parametrize("name", ["hl7.fhir.r4.core", "hl7.fhir.core"])
def test_the_core_is_built_in(settings: Settings, make: Make, name: str) -> None:
    assert "built in" in refused(settings, f"{name}@4.0.1")
    assert "built in" in refused(settings, make("core", name, "4.0.1"))


# --- the registry


def test_dependencies_are_fetched_from_the_registry_however_deep(
    registry: Registry, tmp_path: Path, make: Make
) -> None:
    settings = Settings(package_folder=str(tmp_path / "packages"), package_registry=registry.url)
    registry.offer("test.a", "1.0.0", Path(make("a", "test.a", "1.0.0", dependencies={"test.b": "1.0.x"})))
    registry.offer("test.b", "1.0.3", Path(make("b", "test.b", "1.0.3", dependencies={"test.c": "latest"})))
    registry.offer("test.c", "0.1.0", Path(make("c", "test.c", "0.1.0")))
    done = install(settings, "test.a@1.0.0")
    assert [p.label for p in done.installed] == ["test.c#0.1.0", "test.b#1.0.3", "test.a#1.0.0"]
    registry.asked.clear()
    install(settings, make("d", "test.d", "1.0.0", dependencies={"test.b": "1.0.x"}))
    assert registry.asked == []


def test_a_dependency_that_is_not_in_the_registry_is_a_warning_or_refused(
    registry: Registry, tmp_path: Path, make: Make
) -> None:
    settings = Settings(package_folder=str(tmp_path / "packages"), package_registry=registry.url)
    registry.offer("test.b", "1.0.0", Path(make("b", "test.b", "1.0.0", dependencies={"test.c": "1.0.0"})))
    a = make("a", "test.a", "1.0.0", dependencies={"test.b": "1.0.0"})
    said = refused(settings, a, strict=True)
    assert "package test.b 1.0.0 depends on test.c@1.0.0: test.c:" in said
    assert "does not have this package" in said
    done = install(settings, a)
    assert "test.c@1.0.0, which test.b#1.0.0 depends on, was not fetched" in done.warnings[0]
    assert [p.label for p in done.installed] == ["test.b#1.0.0", "test.a#1.0.0"]


def test_an_endless_chain_of_dependencies_is_cut(registry: Registry, tmp_path: Path, make: Make) -> None:
    settings = Settings(
        package_folder=str(tmp_path / "packages"), package_registry=registry.url, max_package_dependencies=3
    )
    for n in range(6):
        archive = make(str(n), f"test.p{n}", "1.0.0", dependencies={f"test.p{n + 1}": "1.0.0"})
        registry.offer(f"test.p{n}", "1.0.0", Path(archive))
    assert "exceed the limit of 3 packages to fetch" in refused(settings, "test.p0@1.0.0")


def test_an_archive_that_holds_another_package_is_refused(registry: Registry, tmp_path: Path, make: Make) -> None:
    settings = Settings(package_folder=str(tmp_path / "packages"), package_registry=registry.url)
    registry.offer("test.a", "1.0.0", Path(make("x", "test.x", "1.0.0")))
    assert "package.json: found test.x 1.0.0, expected test.a 1.0.0" in refused(settings, "test.a@1.0.0")


def test_without_a_registry_the_setting_is_named(settings: Settings) -> None:
    assert "set package_registry" in refused(settings, "test.a@1.0.0")


# --- bad packages


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".", "a" * 200, "a#b"])
def test_a_name_that_is_none_never_becomes_a_path(settings: Settings, make: Make, name: str) -> None:
    refused(settings, make("a", name, "1.0.0"))


@pytest.mark.parametrize("version", ["../1", "1/2", "1 0"])
def test_a_version_that_is_none_never_becomes_a_path(settings: Settings, make: Make, version: str) -> None:
    assert "package.json: version" in refused(settings, make("a", "test.a", version))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"PK\x03\x04", "no readable .tgz"), (gzip.compress(b"x" * 600), "no readable .tgz"), (b"", "no FHIR package")],
    ids=["zip", "no tar within", "nothing"],
)
def test_what_is_no_package_is_refused(settings: Settings, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.tgz").write_bytes(data)
    said = refused(settings, str(tmp_path / "x.tgz"))
    assert "x.tgz: not a" in said


def test_a_truncated_archive_is_refused(settings: Settings, make: Make) -> None:
    file = Path(make("a", "test.a", "1.0.0", profile()))
    file.write_bytes(file.read_bytes()[:-20])
    assert "a.tgz: not a readable .tgz archive" in refused(settings, str(file))


def element(id: str = "Patient", **more: Any) -> dict[str, Any]:
    return {"element": [{"id": id, "path": id, **more}]}


VALUES = f"{BASE}/ValueSet/"


def imports(id: str, *others: str, **more: Any) -> dict[str, Any]:
    compose = {"include": [{"valueSet": [VALUES + other for other in others]}]}
    return {"resourceType": "ValueSet", "id": id, "url": VALUES + id, "status": "active", "compose": compose} | more


CIRCLE = f"{BASE}/StructureDefinition/"
BROKEN = {"key": "x-1", "severity": "error", "human": "h", "expression": "name.exists( and"}


@pytest.mark.parametrize(
    ("resources", "file", "fault"),
    [
        ([profile(differential={"element": []})], "named-patient.json", "neither snapshot nor differential"),
        ([profile(differential=None, snapshot="x")], "named-patient.json", "neither snapshot nor differential"),
        ([profile(base="http://x.org/none")], "named-patient.json", "no installed package defines http://x.org/none"),
        (
            [{k: v for k, v in profile(snapshot=element()).items() if k != "baseDefinition"}],
            "named-patient.json",
            "baseDefinition: missing",
        ),
        (
            [profile("a", base=CIRCLE + "b"), profile("b", base=CIRCLE + "a")],
            "StructureDefinition-a.json",
            "the bases form a circle",
        ),
        ([profile("self", base=CIRCLE + "self")], "StructureDefinition-self.json", "the bases form a circle"),
        ([profile(differential=element("Patient.shoeSize"))], "named-patient.json", "Patient.shoeSize"),
        ([profile(differential=element(constraint=[BROKEN]))], "named-patient.json", "constraint x-1: 'name.exists"),
        (
            [profile(differential=element("Patient.name", min=3, max="2"))],
            "named-patient.json",
            "min 3 is more than max",
        ),
        (
            [profile(differential=element("Patient.birthDate", type=[{"code": "Quantity"}]))],
            "named-patient.json",
            "Patient.birthDate: type Quantity, but date in its base",
        ),
        (
            [profile(snapshot=element(), differential=element("Patient.name", min="x"))],
            "named-patient.json",
            "the differential is malformed",
        ),
        (
            [imports("a", "b"), imports("b", "c"), imports("c", "b")],
            "ValueSet-b.json",
            f"the value set imports itself: {VALUES}b -> {VALUES}c -> {VALUES}b",
        ),
        ([imports("self", "self")], "ValueSet-self.json", "the value set imports itself"),
        ([parameter(expression="Patient.name.where(")], "shoe-size.json", "expression 'Patient.name.where('"),
        ([parameter(base=["Robot"])], "shoe-size.json", "base: 'Robot' is not a resource type"),
        ([parameter() | {"code": None}], "shoe-size.json", "code: a string is required"),
        ([profile(), profile() | {"id": "twice"}], "StructureDefinition-twice.json", "is already defined by"),
    ],
)
def test_a_faulty_definition_is_a_warning_or_refused_with_its_file(
    settings: Settings, make: Make, resources: list[dict[str, Any]], file: str, fault: str
) -> None:
    archive = make("a", "test.a", "1.0.0", *resources)
    said = refused(settings, archive, strict=True)
    assert file in said
    assert fault in said
    done = install(settings, archive)
    assert labels(settings) == ["test.a#1.0.0"]
    assert any(file in text and fault in text for text in done.warnings)
    assert PackageFolder(settings.package_folder).read(PackageFolder(settings.package_folder).entries()[0])


def test_a_file_that_is_not_json_is_left_out(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "package.json").write_text('{"name": "test.f", "version": "2.0.0"}')
    (tmp_path / "f" / "broken.json").write_text("{")
    assert "broken.json: not valid JSON" in refused(settings, str(tmp_path / "f"), strict=True)
    done = install(settings, str(tmp_path / "f"))
    assert "broken.json: not valid JSON" in done.warnings[0]
    folder = PackageFolder(settings.package_folder)
    (entry,) = folder.entries()
    assert folder.read(entry).problems.keys() == {"broken.json"}
    assert list(folder.faults(entry)) == []


def test_the_same_canonical_with_other_contents_in_another_package_is_refused(settings: Settings, make: Make) -> None:
    install(settings, make("a", "test.a", "1.0.0", profile()))
    other = make("b", "test.b", "1.0.0", profile(description="another"))
    said = refused(settings, other, strict=True)
    assert "b.tgz: StructureDefinition-named-patient.json: url:" in said
    assert "(version 1.0.0) differently" in said
    same = make("same", "test.same", "1.0.0", profile(text={"status": "empty"}))
    assert install(settings, same, strict=True).warnings == ()


def test_versions_of_one_package_may_define_a_canonical_otherwise(settings: Settings, make: Make) -> None:
    install(settings, make("a", "test.a", "1.0.0", profile()))
    install(settings, make("a2", "test.a", "1.1.0", profile(description="another")))
    assert labels(settings) == ["test.a#1.1.0", "test.a#1.0.0"]


def test_unsupported_features_are_noted_and_are_no_fault(settings: Settings, make: Make) -> None:
    logical = profile(
        "model", base=CORE + "Element", kind="logical", type="http://x.org/m", derivation="specialization"
    )
    vital = profile("vital", base=CORE + "vitalsigns", type="Observation", differential=element("Observation.code"))
    done = install(settings, make("a", "test.a", "1.0.0", logical, vital, parameter(type="composite")), strict=True)
    assert len(done.notes) == 1
    assert "shoe-size.json: shoe-size: it is not served" in done.notes[0]


def test_imports_that_come_to_an_end_are_no_fault(settings: Settings, make: Make) -> None:
    """Also where the ways to the end are 2 to the 60th, and where a version imports the one before."""
    ladder = [imports(f"{side}{n}", f"a{n + 1}", f"b{n + 1}") for n in range(60) for side in "ab"]
    newer = imports("versions", "versions|1", version="2")
    older = imports("versions", "a0", version="1") | {"id": "older"}
    done = install(settings, make("a", "test.a", "1.0.0", *ladder, newer, older))
    assert (done.warnings, done.notes) == ((), ())


def test_a_profile_that_allows_more_than_its_base_is_noted(settings: Settings, make: Make) -> None:
    none = profile("none", base=CIRCLE + "named-patient", differential=element("Patient.name", min=0))
    many = profile("many", differential=element("Patient.gender", max="3"))
    restated = profile("restated", differential=element("Patient.gender", min=0, max="1"))
    done = install(settings, make("a", "test.a", "1.0.0", profile(), none, many, restated))
    assert [note.partition("json: ")[2] for note in done.notes] == [
        "Patient.gender: max 3, but 1 in its base, which applies",
        "Patient.name: min 0, but 1 in its base, which applies",
    ]


def test_what_would_keep_a_server_from_starting_is_refused_unless_forced(settings: Settings, make: Make) -> None:
    file = make("a", "test.a", "1.0.0")
    assert "would not start" in refused(settings, file, reason="it would not start")
    assert install(settings, file, force=True, reason="it would not start").warnings == ("it would not start",)
