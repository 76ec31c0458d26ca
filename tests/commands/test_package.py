from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.cli import PATIENT, exported, fhirstore, refusals, written
from support.packages import BASE, parameter, profile, sas_dependencies, sas_guide, served, statement, tgz
from support.shared import EXAMPLES, needs_examples

from fhirstore.commands.serve import build_published
from fhirstore.settings import Settings

PROFILE = f"{BASE}/StructureDefinition/named-patient"


OWNED = (
    ("CapabilityStatement", "registry"),
    ("SearchParameter", "shoe-size"),
    ("StructureDefinition", "named-patient"),
)


def guide(version: str = "1.0.0", file: str = "guide.tgz") -> str:
    return str(tgz(file, "test.guide", version, profile(version=version), parameter(), statement(version=version)))


def test_add_lists_the_installed_packages_and_asks_for_a_reload() -> None:
    done = fhirstore("package", "add", guide())
    assert done.exit_code == 0, done.output
    assert "test.guide 1.0.0 installed: 1 CapabilityStatement, 1 SearchParameter, 1 StructureDefinition" in done.stdout
    assert "kill -HUP" in done.stderr
    assert "test.guide 1.0.0 is already installed" in fhirstore("package", "add", guide()).stdout


def test_list_shows_what_is_installed() -> None:
    assert "No packages are installed in fhirstore-packages" in fhirstore("package", "list").stdout
    fhirstore("package", "add", guide(), guide("1.1.0", "later.tgz"))
    shown = fhirstore("package", "list").stdout
    assert shown.index("1.1.0") < shown.index("1.0.0")
    assert "Registry" in shown
    lines = [json.loads(line) for line in fhirstore("package", "list", "--format", "json").stdout.splitlines()]
    assert [(one["name"], one["version"]) for one in lines] == [("test.guide", "1.1.0"), ("test.guide", "1.0.0")]
    assert lines[0]["capabilityStatements"] == [f"{BASE}/CapabilityStatement/registry"]
    assert lines[0]["resources"] == {"CapabilityStatement": 1, "SearchParameter": 1, "StructureDefinition": 1}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("add", "none.tgz"), "none.tgz: no such file or folder"),
        (("add", "test.a@1.0.0"), "set package_registry"),
        (("add", "bad.tgz"), "bad.tgz: not a readable .tgz archive"),
        (
            ("add", "--strict", "needs.tgz"),
            "package test.needs 1.0.0 depends on test.other 1.0.0, which is not available",
        ),
        (("add", "r5.tgz"), "r5.tgz: package.json: fhirVersions: the package is for FHIR 5.0.0"),
        (("add", "--strict", "clash.tgz"), "search parameter gender of Patient has two different definitions: "),
        (("remove", "test.none"), "test.none: package is not installed (installed: test.guide@1.0.0)"),
        (("remove", "test.guide@2.0.0"), "test.guide@2.0.0: package is not installed"),
        (("verify", "test.none"), "test.none: package is not installed"),
    ],
)
def test_an_impossible_command_exits_with_status_2(arguments: tuple[str, ...], expected: str) -> None:
    Path("bad.tgz").write_bytes(b"no archive")
    tgz("needs.tgz", "test.needs", "1.0.0", dependencies={"test.other": "1.0.0"})
    tgz("r5.tgz", "test.r5", "1.0.0", fhirVersions=["5.0.0"])
    tgz("clash.tgz", "test.clash", "1.0.0", parameter("gender", type="token", expression="Patient.maritalStatus"))
    assert fhirstore("package", "add", guide()).exit_code == 0
    done = fhirstore("package", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr
    assert [p.name for p in Path("fhirstore-packages").iterdir() if p.is_dir()] == ["test.guide#1.0.0"]


def test_verify_finds_changed_files_and_missing_dependencies() -> None:
    tgz("needs.tgz", "test.needs", "1.0.0", dependencies={"test.guide": "1.0.0"})
    fhirstore("package", "add", guide(), "needs.tgz")
    done = fhirstore("package", "verify")
    assert (done.exit_code, done.stdout) == (0, "test.guide 1.0.0: ok\ntest.needs 1.0.0: ok\n")
    file = Path("fhirstore-packages/test.guide#1.0.0/package/StructureDefinition-named-patient.json")
    file.write_text(file.read_text() + " ")
    done = fhirstore("package", "verify", "test.guide")
    assert done.exit_code == 1
    assert "named-patient.json: the file was changed after the installation" in done.stdout
    fhirstore("package", "remove", "test.guide", "--force")
    done = fhirstore("package", "verify")
    assert done.exit_code == 1
    assert "package test.needs 1.0.0 depends on test.guide 1.0.0, which is not available" in done.stdout


def test_remove_rejects_required_and_ambiguous_packages() -> None:
    tgz("needs.tgz", "test.needs", "1.0.0", dependencies={"test.guide": "1.0.0"})
    fhirstore("package", "add", guide(), guide("1.1.0", "later.tgz"), "needs.tgz")
    done = fhirstore("package", "remove", "test.guide")
    assert "several versions are installed. Choose one of test.guide@1.1.0, test.guide@1.0.0" in done.stderr
    done = fhirstore("package", "remove", "test.guide@1.0.0")
    assert (done.exit_code, "package test.needs 1.0.0 depends on test.guide@1.0.0" in done.stderr) == (2, True)
    done = fhirstore("package", "remove", "test.guide@1.0.0", "test.needs@1.0.0")
    assert (done.exit_code, done.stdout) == (0, "test.guide 1.0.0 removed\ntest.needs 1.0.0 removed\n")
    assert [p.name for p in Path("fhirstore-packages").iterdir() if p.is_dir()] == ["test.guide#1.1.0"]


def test_a_package_that_was_installed_by_hand_without_what_it_needs_stops_every_command() -> None:
    folder = Path("fhirstore-packages/test.needs#1.0.0/package")
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(
        json.dumps({"name": "test.needs", "version": "1.0.0", "dependencies": {"test.other": "1.0.0"}})
    )
    written("a.json", PATIENT)
    done = fhirstore("validate", "a.json")
    assert (done.exit_code, "test.needs 1.0.0 depends on test.other 1.0.0" in done.stderr) == (2, True)


def test_validate_knows_installed_profiles_with_and_without_version() -> None:
    fhirstore("package", "add", guide(), guide("1.1.0", "later.tgz"))
    written("a.json", {"resourceType": "Patient", "id": "p"})
    for canonical in (PROFILE, f"{PROFILE}|1.0.0", f"{PROFILE}|1.1.0"):
        done = fhirstore("validate", "a.json", "--profile", canonical)
        assert (done.exit_code, "Patient.name" in done.stdout) == (1, True), done.output
    assert fhirstore("validate", "a.json", "--profile", f"{PROFILE}|2.0.0").exit_code == 2


def test_the_packages_that_are_used_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    fhirstore("package", "add", guide(), guide("1.1.0", "later.tgz"))
    written("a.json", {"resourceType": "Patient", "id": "p"})
    monkeypatch.setenv("FHIRSTORE_PACKAGES", "test.guide@1.0.0")
    assert fhirstore("validate", "a.json", "--profile", f"{PROFILE}|1.0.0").exit_code == 1
    assert fhirstore("validate", "a.json", "--profile", f"{PROFILE}|1.1.0").exit_code == 2
    monkeypatch.setenv("FHIRSTORE_PACKAGES", "test.guide@3.x")
    done = fhirstore("validate", "a.json")
    assert (done.exit_code, "setting packages: test.guide@3.x is not installed" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "name",
    ["registry", "Registry", f"{BASE}/CapabilityStatement/registry", "registry|1.0.0", "Registry|1.1.0"],
)
def test_a_statement_is_taken_by_id_name_and_canonical_with_version(name: str) -> None:
    fhirstore("package", "add", guide(), guide("1.1.0", "later.tgz"))
    done = fhirstore("reindex", "--capability", name)
    assert done.exit_code == 0, done.output
    assert fhirstore("reindex", "--capability", "registry|9").exit_code == 2


def test_a_statement_whose_name_two_packages_use_must_be_given_by_its_url() -> None:
    other = statement("registry", served("Patient"), url=f"{BASE}/other")
    fhirstore("package", "add", guide(), str(tgz("o.tgz", "test.o", "1.0.0", other)))
    done = fhirstore("reindex", "--capability", "registry")
    assert done.exit_code == 2
    assert (
        f"the name is ambiguous. Use one of the urls: {BASE}/CapabilityStatement/registry, {BASE}/other" in done.stderr
    )


@needs_examples
def test_the_official_sas_guide_is_installed_without_its_dependencies_unless_strict() -> None:
    file = str(sas_guide("sas.tgz"))
    done = fhirstore("package", "add", "--strict", file)
    assert done.exit_code == 2
    for missing in ("hl7.terminology.r4 7.2.0", "hl7.fhir.uv.extensions.r4 5.3.0", "hl7.fhir.fr.core 1.1.0"):
        assert f"package ans.fhir.fr.sas 1.2.0 depends on {missing}, which is not available" in done.stderr
    assert not Path("fhirstore-packages/ans.fhir.fr.sas#1.2.0").exists()
    done = fhirstore("package", "add", file)
    assert done.exit_code == 0, done.output
    assert "FrSlotAgregateur" in done.stderr
    assert "ans.fhir.fr.sas 1.2.0: ok" in fhirstore("package", "verify").stdout


@needs_examples
def test_the_official_sas_guide_is_installed_with_its_dependencies_and_checks_its_examples() -> None:
    done = fhirstore("package", "add", str(sas_guide("sas.tgz")), *map(str, sas_dependencies(Path())))
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("Restart running servers"), "no notes expected"
    names = ("Slot-ExampleSlotPSIndiv1.json", "Location-1111111111.json", "Schedule-ExampleSchedule.json")
    done = fhirstore("validate", *(str(EXAMPLES / name) for name in names))
    assert done.exit_code == 0, done.output
    assert "not known" not in done.stdout
    slot = json.loads((EXAMPLES / names[0]).read_text("utf-8"))
    done = fhirstore("validate", written("slot.json", slot | {"status": "unheard-of"}))
    assert (done.exit_code, "FrSlotAgregateur" in done.stdout) == (1, True)
    assert fhirstore("reindex", "--capability", "SAS_gestionnaireAgenda_Psindiv").exit_code == 0


def test_export_leaves_out_what_belongs_to_packages_and_load_does_not_touch_it() -> None:
    fhirstore("package", "add", guide())
    server = build_published(Settings())
    server.store.close()
    assert set(server.package_owners) == {f"{kind}/{id}" for kind, id in OWNED}
    assert fhirstore("load", written("a.ndjson", PATIENT, profile(description="mine"))).exit_code == 1
    assert [r["issue"][0]["code"] for r in refusals()] == ["forbidden"]
    assert list(exported()) == ["Patient/p1"]
