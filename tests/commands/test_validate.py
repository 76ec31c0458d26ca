from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.cli import PATIENT, bundle, fhirstore, written

ROOT = Path(__file__).resolve().parents[2]
JSON_PLUGIN = str(ROOT / "docs/examples/json-plugin")
IDENTIFIED = "https://example.org/fhir/StructureDefinition/identified-patient"
UNKNOWN = "http://example.org/StructureDefinition/unheard-of"
WRONG = {**PATIENT, "id": "p2", "gender": "man"}


def claiming(*profiles: str, **more: Any) -> dict[str, Any]:
    return {**PATIENT, "meta": {"profile": list(profiles)}, **more}


def test_a_valid_resource_gives_only_the_counts_and_status_0() -> None:
    done = fhirstore("validate", written("a.json", PATIENT))
    assert (done.exit_code, done.output) == (0, "1 resources, 0 with errors, 0 errors, 0 warnings\n")


def test_a_structure_error_gives_one_line_and_status_1() -> None:
    done = fhirstore("validate", written("a.json", WRONG))
    issue, counts = done.stdout.splitlines()
    assert done.exit_code == 1
    assert issue.startswith("a.json  error  Patient.gender  ")
    assert "man" in issue
    assert counts == "1 resources, 1 with errors, 1 errors, 0 warnings"


def test_lines_of_ndjson_are_numbered_as_in_the_file() -> None:
    Path("a.ndjson").write_text(f"{json.dumps(PATIENT)}\n\n{json.dumps(WRONG)}\n{{\n")
    done = fhirstore("validate", "a.ndjson")
    assert [line.split("  ")[:2] for line in done.stdout.splitlines()[:-1]] == [
        ["a.ndjson:3", "error"],
        ["a.ndjson:4", "error"],
    ]
    assert done.stdout.endswith("3 resources, 2 with errors, 2 errors, 0 warnings\n")


def test_folders_and_gzipped_files_are_checked() -> None:
    Path("in/deep").mkdir(parents=True)
    written("in/a.json", PATIENT)
    written("in/deep/b.ndjson.gz", PATIENT, WRONG)
    done = fhirstore("validate", "in")
    assert done.stdout.startswith("in/deep/b.ndjson.gz:2  error  Patient.gender  ")
    assert done.stdout.endswith("3 resources, 1 with errors, 1 errors, 0 warnings\n")


def test_invalid_json_is_an_issue_and_the_other_files_are_validated() -> None:
    Path("a.json").write_text('{"resourceType": "Patient",')
    done = fhirstore("validate", "a.json", written("b.json", PATIENT))
    assert done.exit_code == 1
    assert done.stdout.startswith("a.json  error  -  ")
    assert done.stdout.endswith("2 resources, 1 with errors, 1 errors, 0 warnings\n")


def test_a_claimed_profile_is_checked() -> None:
    done = fhirstore("validate", "--plugin", JSON_PLUGIN, written("a.json", claiming(IDENTIFIED)))
    assert done.exit_code == 1
    assert f"[min of Patient.identifier in {IDENTIFIED}]" in done.stdout


def test_an_unknown_claimed_profile_gives_a_warning_that_names_it() -> None:
    done = fhirstore("validate", written("a.json", claiming(UNKNOWN)))
    assert done.exit_code == 0
    assert done.stdout.startswith(f"a.json  warning  Patient.meta.profile  The profile {UNKNOWN} is unknown")
    assert done.stdout.endswith("1 resources, 0 with errors, 0 errors, 1 warnings\n")


def test_profiles_of_the_command_replace_the_claimed_ones() -> None:
    file = written("a.json", claiming(UNKNOWN))
    done = fhirstore("validate", "--plugin", JSON_PLUGIN, "--profile", IDENTIFIED, file)
    assert done.exit_code == 1
    assert IDENTIFIED in done.stdout
    assert UNKNOWN not in done.stdout


def test_a_resource_of_another_type_does_not_conform() -> None:
    other = {"resourceType": "Basic", "id": "b", "code": {"text": "x"}}
    done = fhirstore("validate", "--plugin", JSON_PLUGIN, "--profile", IDENTIFIED, written("a.json", other))
    assert done.exit_code == 1
    assert IDENTIFIED in done.stdout


def test_a_profile_that_is_claimed_twice_reports_its_errors_once() -> None:
    done = fhirstore("validate", "--plugin", JSON_PLUGIN, written("a.json", claiming(IDENTIFIED, IDENTIFIED)))
    assert done.stdout.endswith("1 resources, 1 with errors, 1 errors, 0 warnings\n")


def test_absent_must_support_elements_are_listed_on_request() -> None:
    marked = {"id": "Patient.birthDate", "path": "Patient.birthDate", "mustSupport": True}
    definition = {
        "resourceType": "StructureDefinition",
        "url": "http://example.org/StructureDefinition/born",
        "kind": "resource",
        "type": "Patient",
        "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {"element": [marked]},
    }
    Path("born").mkdir()
    written("born/born.json", definition)
    Path("born/package.json").write_text(json.dumps({"name": "born", "version": "1.0.0"}))
    file = written("a.json", {k: v for k, v in claiming(definition["url"]).items() if k != "birthDate"})
    assert "mustSupport" not in fhirstore("validate", "--plugin", "born", file).stdout
    done = fhirstore("validate", "--plugin", "born", "--must-support", file)
    assert done.exit_code == 0
    assert done.stdout.startswith("a.json  information  Patient.birthDate  ")


def test_json_has_an_object_for_each_resource() -> None:
    nameless = {"resourceType": "Patient"}
    done = fhirstore("validate", "--format", "json", written("a.ndjson", PATIENT, WRONG), written("b.json", nameless))
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert done.exit_code == 1
    assert first == {"file": "a.ndjson", "line": 1, "resource": "Patient/p1", "issue": []}
    assert (second["line"], second["resource"]) == (2, "Patient/p2")
    assert [(i["severity"], i["code"], i["expression"]) for i in second["issue"]] == [
        ("error", "code-invalid", ["Patient.gender"])
    ]
    assert third == {"file": "b.json", "resource": "Patient", "issue": []}


def test_the_json_line_of_an_unreadable_file_has_no_resource() -> None:
    Path("a.json").write_text("{")
    (line,) = fhirstore("validate", "--format", "json", "a.json").stdout.splitlines()
    found = json.loads(line)
    assert (found["resource"], [i["severity"] for i in found["issue"]]) == (None, ["error"])


def test_a_bundle_is_checked_as_a_whole() -> None:
    done = fhirstore("validate", written("a.json", bundle("collection", {"resource": WRONG})))
    assert done.stdout.startswith("a.json  error  Bundle.entry[0].resource.gender  ")
    assert done.stdout.endswith("1 resources, 1 with errors, 1 errors, 0 warnings\n")


def test_values_of_files_cannot_control_the_terminal() -> None:
    done = fhirstore("validate", written("a.json", claiming("urn:\x1b[31m[red]\nx")))
    assert "urn:\\x1b[31m[red]\\nx is unknown" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("none.json",), "none.json: no such file or folder"),
        (("empty",), "empty: no files to validate"),
        (("broken.json.gz",), "broken.json.gz: cannot read the file"),
        (("cut.json.gz",), "cut.json.gz: cannot read the file"),
        (
            ("a.json", "--profile", UNKNOWN),
            f"--profile {UNKNOWN}: no loaded package defines it. Load a plugin with --plugin",
        ),
        (("a.json", "--plugin", "unheard-of"), "unheard-of"),
        (("a.json", "--format", "xml"), "xml"),
        ((), "FILES"),
    ],
)
def test_a_wrong_option_or_file_exits_with_status_2(arguments: tuple[str, ...], expected: str) -> None:
    Path("empty").mkdir()
    Path("broken.json.gz").write_bytes(b"no gzip")
    Path("cut.json.gz").write_bytes(gzip.compress(b"{}" * 99)[:-9])
    written("a.json", PATIENT)
    done = fhirstore("validate", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert expected in done.stderr


def test_neither_a_store_nor_flask_is_required() -> None:
    written("a.json", PATIENT)
    code = (
        "import sys; sys.modules['flask'] = None\n"
        "from fhirstore.cli import main\nmain(['validate', 'a.json', '--plugin', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", code, JSON_PLUGIN], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert [p.name for p in Path().iterdir()] == ["a.json"]


def test_a_declared_profile_applies_without_being_claimed() -> None:
    file = written("a.json", {**PATIENT, "id": "p1"})
    options = ("--plugin", JSON_PLUGIN, "--capability", "clinic")
    done = fhirstore("validate", file, *options)
    assert done.exit_code == 1
    assert f"in {IDENTIFIED}]" in done.stdout
    assert fhirstore("validate", file, "--plugin", JSON_PLUGIN).exit_code == 0
