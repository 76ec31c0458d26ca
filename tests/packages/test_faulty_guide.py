"""A guide with the faults of published ones: it is installed, served as far as possible, and says what is left out."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.cli import fhirstore
from support.packages import BASE, CORE, parameter, profile, served, statement, tgz

from fhirstore.errors import StartupError
from fhirstore.http.app import make_app
from fhirstore.server import build
from fhirstore.settings import Settings

Json = dict[str, Any]
NARRATIVE = {"key": "txt-1", "severity": "error", "human": "basic formatting", "expression": "htmlChecks()"}


def element(path: str, **more: Any) -> Json:
    return {"differential": {"element": [{"id": path, "path": path, **more}]}}


def url(kind: str, id: str) -> str:
    return f"{BASE}/{kind}/{id}"


GUIDE = {
    "resourceType": "ImplementationGuide",
    "id": "guide",
    "url": url("ImplementationGuide", "guide"),
    "version": "1.0.0",
    "name": "Guide",
    "status": "active",
    "packageId": "test.guide",
    "fhirVersion": ["4.0.1"],
}
RESOURCES: list[Json] = [
    GUIDE,
    GUIDE | {"id": "guide-again", "title": "The same canonical"},
    profile("narrative", **element("Patient.text.div", constraint=[NARRATIVE])),
    profile("vitals", base=CORE + "vitalsigns", type="Observation", **element("Observation.subject", min=1)),
    profile("of-nothing", base="http://elsewhere.org/StructureDefinition/none"),
    parameter("gender", "Patient.maritalStatus", type="token"),
    parameter("wrong-element", "Patient.shoe"),
    parameter("pair", type="composite"),
    parameter("place", "Patient.address.city"),
    {
        "resourceType": "OperationDefinition",
        "id": "fetch",
        "url": url("OperationDefinition", "fetch"),
        "version": "1.0.0",
        "name": "Fetch",
        "status": "active",
        "kind": "operation",
        "code": "fetch",
        "resource": ["Patient"],
        "system": False,
        "type": True,
        "instance": False,
    },
]
PATIENT = served(
    "Patient",
    ("gender", url("SearchParameter", "gender"), "token"),
    ("wrong-element", url("SearchParameter", "wrong-element"), "string"),
    ("pair", url("SearchParameter", "pair"), "composite"),
    ("place", url("SearchParameter", "place"), "token"),
    ("absent", "http://elsewhere.org/SearchParameter/absent", "string"),
    ("birthdate", "http://hl7.org/fhir/SearchParameter/individual-birthdate", "date"),
    referencePolicy=["literal", "resolves"],
    supportedProfile=[
        url("StructureDefinition", "narrative"),
        url("StructureDefinition", "of-nothing"),
        "http://elsewhere.org/StructureDefinition/none",
    ],
    searchInclude=["Patient:general-practitioner", "Patient:birthdate"],
    operation=[{"name": "fetch", "definition": url("OperationDefinition", "fetch")}],
)
PATIENT["interaction"].append({"code": "patch"})
OBSERVATION = served("Observation", supportedProfile=[url("StructureDefinition", "vitals")])
STATEMENT = statement(
    "guide-server",
    PATIENT,
    OBSERVATION,
    served("Robot"),
    format=["xml", "json"],
    patchFormat=["application/json-patch+json"],
    imports=["http://elsewhere.org/CapabilityStatement/none"],
)
LEFT_OUT = (
    "ImplementationGuide-guide.json: url:",
    "format[0]: the format xml is not supported",
    "patchFormat: PATCH is not supported",
    "rest[0].resource[0].interaction[6].code: the type interaction patch is not supported",
    "rest[0].resource[0].referencePolicy[1]: the reference policy resolves is not supported",
    "imports[0]: no loaded package defines",
    "rest[0].resource[2].type: Robot is not a FHIR R4 resource type",
    "SearchParameter-wrong-element.json:",
    "rest[0].resource[0].searchParam[2]: pair: search parameters of type composite",
    "rest[0].resource[0].searchParam[3].type: token differs",
    "rest[0].resource[0].searchParam[4].definition: neither R4 nor a loaded package defines",
    "rest[0].resource[0].searchInclude[1]: Patient:birthdate has type date",
    "rest[0].resource[0].operation[0]: the operation http://example.org/fhir/OperationDefinition/fetch is not impl",
    "rest[0].resource[0].supportedProfile[2]: neither R4 nor a loaded package defines",
    "Patient: supportedProfile: http://example.org/fhir/StructureDefinition/of-nothing: the profile cannot be checked",
)


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of its files define the same ImplementationGuide."""
    path = tmp_path_factory.mktemp("guide") / "guide.tgz"
    return tgz(path, "test.guide", "1.0.0", *RESOURCES, STATEMENT, dependencies={"test.none": "1.0.0"})


@pytest.fixture(scope="module")
def folder(guide: Path) -> str:
    """The folder of packages with the guide."""
    folder = str(guide.parent / "packages")
    done = fhirstore("package", "add", str(guide), "--package-folder", folder)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def settings(folder: str, tmp_path: Path) -> Settings:
    return Settings(store=f"sqlite:///{tmp_path}/guide.db", capability="guide-server", package_folder=folder)


def started(settings: Settings, caplog: pytest.LogCaptureFixture) -> tuple[Json, list[str]]:
    """/metadata and the texts that are logged at the start."""
    server = build(settings)
    try:
        metadata = make_app(server).test_client().get("/fhir/metadata").get_json()
        return metadata, [r.getMessage() for r in caplog.records if r.name == "fhirstore.server"]
    finally:
        server.store.close()


def test_installing_warns_about_each_fault(guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = fhirstore("package", "add", str(guide))
    assert done.exit_code == 0, done.output
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    for text in (
        "test.none 1.0.0, which is not available",
        "ImplementationGuide-guide.json: url:",
        "SearchParameter-wrong-element.json:",
        "StructureDefinition-of-nothing.json: baseDefinition:",
        "search parameter gender of Patient has two different definitions",
    ):
        assert any(text in line for line in warnings), text
    assert "narrative" not in done.stderr
    assert "vitals" not in done.stderr


def test_a_strict_installation_refuses_the_guide(guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = fhirstore("package", "add", "--strict", str(guide))
    assert done.exit_code == 2
    assert "wrong-element" in done.stderr
    assert not [p for p in Path("fhirstore-packages").iterdir() if p.is_dir()]


def test_the_server_starts_with_the_statement_and_logs_what_it_leaves_out(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    metadata, texts = started(settings, caplog)
    for expected in LEFT_OUT:
        assert any(expected in text for text in texts), (expected, texts)
    assert len(texts) == len(LEFT_OUT)
    types = {r["type"]: r for r in metadata["rest"][0]["resource"]}
    assert set(types) == {"Patient", "Observation"}
    patient = types["Patient"]
    # "place" is declared with a wrong type. The package adds it with the right one.
    assert {(p["name"], p["type"]) for p in patient["searchParam"]} == {
        ("_id", "token"),
        ("_lastUpdated", "date"),
        ("gender", "token"),
        ("birthdate", "date"),
        ("place", "string"),
    }
    assert patient["supportedProfile"] == [url("StructureDefinition", "narrative")]
    assert types["Observation"]["supportedProfile"] == [url("StructureDefinition", "vitals")]
    assert patient["searchInclude"] == ["Patient:general-practitioner"]
    assert patient["referencePolicy"] == ["literal"]
    assert "patch" not in {i["code"] for i in patient["interaction"]}
    assert metadata["format"] == ["json"]
    assert "operation" not in patient


def test_the_server_searches_and_checks_with_what_remains(settings: Settings) -> None:
    server = build(settings)
    try:
        client = make_app(server).test_client()
        observation = {
            "resourceType": "Observation",
            "meta": {"profile": [url("StructureDefinition", "vitals")]},
            "status": "final",
            "code": {"text": "pulse"},
        }
        refused = client.post("/fhir/Observation", json=observation)
        assert refused.status_code == 422
        assert "Observation.category" in refused.get_data(as_text=True)  # from vitalsigns, a profile of R4
        created = client.post(
            "/fhir/Patient", json={"resourceType": "Patient", "name": [{"text": "x"}], "address": [{"city": "Rennes"}]}
        )
        assert created.status_code == 201
        assert client.get("/fhir/Patient?place=rennes").get_json()["entry"][0]["resource"]["id"]
        assert client.get("/fhir/Patient?wrong-element=x", headers={"Prefer": "handling=strict"}).status_code == 400
    finally:
        server.store.close()


def test_the_setting_refuse_stops_the_start(settings: Settings) -> None:
    with pytest.raises(StartupError, match="PATCH is not supported"):
        build(replace(settings, package_problems="refuse"))


def test_a_statement_of_the_user_stays_strict(settings: Settings, tmp_path: Path) -> None:
    """Also if it imports the statement of the package, whose declarations are optional."""
    own = statement("own", served("Practitioner"), imports=[STATEMENT["url"]])
    (tmp_path / "own.json").write_text(json.dumps(own))
    chosen = replace(settings, capability=str(tmp_path / "own.json"))
    server = build(chosen)
    assert set(server.registry.types) == {"Patient", "Observation", "Practitioner"}
    server.store.close()
    (tmp_path / "own.json").write_text(json.dumps(own | {"patchFormat": ["application/json-patch+json"]}))
    with pytest.raises(StartupError, match=r"own\.json: patchFormat: PATCH is not supported"):
        build(chosen)


@pytest.mark.parametrize("missing", ["fhirVersion", "rest"])
def test_a_statement_without_a_required_element_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = {key: value for key, value in STATEMENT.items() if key != missing}
    fhirstore("package", "add", str(tgz(tmp_path / "b.tgz", "test.b", "1.0.0", broken)))
    with pytest.raises(StartupError, match=missing):
        build(Settings(store=f"sqlite:///{tmp_path}/b.db", capability="guide-server"))


def test_a_broken_file_of_a_package_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with tarfile.open(tmp_path / "b.tgz", "w:gz") as tar:
        for name, text in (
            ("package.json", '{"name": "test.b", "version": "1.0.0"}'),
            ("ValueSet-a.json", '{"resourceType": "ValueSet", "url": 7}'),
            ("ValueSet-b.json", "{"),
            ("ValueSet-c.json", '{"resourceType": "ValueSet", "url": "http://c.org/c", "id": "c", "status": "active"}'),
        ):
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    done = fhirstore("package", "add", "b.tgz")
    assert (done.exit_code, "test.b 1.0.0 installed: 1 ValueSet" in done.stdout) == (0, True)
    assert "ValueSet-a.json: url: a string is required" in done.stderr
    assert "ValueSet-b.json: not valid JSON" in done.stderr
    assert fhirstore("package", "verify").stdout == "test.b 1.0.0: ok\n"
