from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fhirstore import __version__
from fhirstore.cli import cli

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Durand"}]}
PACKAGE = {
    "package.json": {"name": "test.birthplace", "version": "1.0.0"},
    "SearchParameter-birth-city.json": {
        "resourceType": "SearchParameter",
        "url": "http://example.org/SearchParameter/birth-city",
        "name": "BirthCity",
        "status": "active",
        "description": "The city where a patient was born",
        "code": "birth-city",
        "base": ["Patient"],
        "type": "string",
        "expression": "Patient.maritalStatus.text",
    },
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("FHIRSTORE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


def fhirstore(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def written(file: str, *resources: dict[str, Any]) -> str:
    """A file with the resources: NDJSON, or, with the suffix .json, the only one."""
    text = "\n".join(json.dumps(r) for r in resources) + "\n"
    data = gzip.compress(text.encode()) if file.endswith(".gz") else text.encode()
    Path(file).write_bytes(data)
    return file


def exported(*options: str) -> dict[str, dict[str, Any]]:
    """What the store holds, by Type/id, without the server's meta."""
    done = fhirstore("export", "out", *options)
    assert done.exit_code == 0, done.output
    found = {}
    for file in Path("out").glob("*.ndjson"):
        for line in file.read_text("utf-8").splitlines():
            resource = json.loads(line)
            assert resource.pop("meta")["versionId"]
            found[f"{resource['resourceType']}/{resource['id']}"] = resource
    return found


def refusals(file: str = "load-errors.ndjson") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]


def bundle(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


# --- the command itself -----------------------------------------------------------------------------


def test_the_version_is_told() -> None:
    assert fhirstore("--version").output == f"fhirstore {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("serve", "--capability", "none.json"), "none.json"),
        (("serve", "--plugin", "unheard-of"), "unheard-of"),
        (("serve", "--store", "oracle:///x"), "oracle:///x"),
        (("serve", "--validation", "loose"), "one of enforce, warn, off is wanted"),
        (("serve", "--config", "none.json"), "none.json"),
        (("load", "none.ndjson"), "none.ndjson: there is no such file or folder"),
        (("demo",), "no plugin with demo data is loaded"),
    ],
)
def test_what_cannot_start_is_told_in_one_line_and_by_status_2(arguments: tuple[str, ...], wanted: str) -> None:
    done = fhirstore(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_plugins_lists_what_a_package_contributes() -> None:
    done = fhirstore("plugins", "--plugin", package("birthplace"))
    assert done.exit_code == 0
    assert "test.birthplace 1.0.0" in done.stdout
    assert "http://example.org/SearchParameter/birth-city" in done.stdout


def test_plugins_says_when_none_is_loaded() -> None:
    assert "No plugin is loaded" in fhirstore("plugins").stdout


def test_a_plugin_can_add_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("greeter.py").write_text(
        "import click\nfrom fhirstore.plugins import hookimpl\n\n"
        "@hookimpl\ndef cli(group):\n"
        "    group.add_command(click.Command('greet', callback=lambda: click.echo('bonjour')))\n"
    )
    info = Path("greeter-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fhirstore.plugins]\ngreeter = greeter\n")
    monkeypatch.syspath_prepend(os.getcwd())
    assert fhirstore("--plugin", "greeter", "greet").output == "bonjour\n"
    assert "greet" in fhirstore("--plugin", "greeter", "--help").output
    assert fhirstore("greet").exit_code == 2


def package(folder: str) -> str:
    """A folder with a FHIR package that adds a search parameter to Patient."""
    Path(folder, "package").mkdir(parents=True)
    for name, content in PACKAGE.items():
        Path(folder, "package", name).write_text(json.dumps(content))
    return folder


# --- load and export --------------------------------------------------------------------------------


def test_what_is_loaded_comes_out_of_export() -> None:
    observation = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"text": "weight"},
        "valueQuantity": {"value": 70.25, "unit": "kg"},
    }
    done = fhirstore("load", written("a.ndjson", PATIENT, observation))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 resources loaded, ")
    assert exported() == {"Patient/p1": PATIENT, "Observation/o1": observation}


def test_folders_and_gzipped_files_are_loaded() -> None:
    Path("in/deep").mkdir(parents=True)
    written("in/a.json", PATIENT)
    written("in/deep/b.ndjson.gz", {**PATIENT, "id": "p2"}, {**PATIENT, "id": "p3"})
    Path("in/notes.txt").write_text("not to be loaded")
    assert fhirstore("load", "in").exit_code == 0
    assert sorted(exported()) == ["Patient/p1", "Patient/p2", "Patient/p3"]


def test_decimals_keep_their_digits() -> None:
    Path("a.ndjson").write_text(
        '{"resourceType":"Observation","id":"o","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.500}}\n'
    )
    assert fhirstore("load", "a.ndjson").exit_code == 0
    assert fhirstore("export", "out").exit_code == 0
    assert '"value":1.500' in Path("out/Observation.ndjson").read_text()


def test_a_resource_without_an_id_gets_one() -> None:
    fhirstore("load", written("a.json", {"resourceType": "Patient", "active": True}))
    (resource,) = exported().values()
    assert resource["id"]


def test_entries_of_a_collection_are_loaded_and_their_links_follow() -> None:
    uuid = "urn:uuid:1c9f9a34-0a51-4d40-8b66-0d0f2b8e6a11"
    encounter = {
        "resourceType": "Encounter",
        "id": "e",
        "status": "planned",
        "class": {"code": "AMB"},
        "subject": {"reference": uuid},
    }
    patient = {"resourceType": "Patient", "active": True}
    done = fhirstore(
        "load", written("a.json", bundle("collection", {"resource": encounter}, {"fullUrl": uuid, "resource": patient}))
    )
    assert done.exit_code == 0, done.output
    found = exported()
    assert found["Encounter/e"]["subject"] == {"reference": "Patient/" + uuid.removeprefix("urn:uuid:")}
    assert f"Patient/{uuid.removeprefix('urn:uuid:')}" in found


def test_a_transaction_is_carried_out() -> None:
    fhirstore("load", written("p.ndjson", PATIENT))
    uuid = "urn:uuid:1c9f9a34-0a51-4d40-8b66-0d0f2b8e6a11"
    schedule = {"resourceType": "Schedule", "actor": [{"reference": "Patient?family=Durand"}]}
    slot = {
        "resourceType": "Slot",
        "schedule": {"reference": uuid},
        "status": "free",
        "start": "2030-01-01T09:00:00Z",
        "end": "2030-01-01T09:20:00Z",
    }
    both = bundle(
        "transaction",
        {"fullUrl": uuid, "resource": schedule, "request": {"method": "POST", "url": "Schedule"}},
        {"resource": slot, "request": {"method": "POST", "url": "Slot"}},
    )
    done = fhirstore("load", written("t.json", both))
    assert done.stdout.startswith("2 resources loaded"), done.output
    found = {r["resourceType"]: r for r in exported().values()}
    assert found["Schedule"]["actor"] == [{"reference": "Patient/p1"}]
    assert found["Slot"]["schedule"] == {"reference": f"Schedule/{found['Schedule']['id']}"}


def test_a_document_is_stored_whole() -> None:
    document = bundle("document", {"fullUrl": "http://example.org/Patient/p1", "resource": PATIENT})
    fhirstore("load", "--validation", "off", written("d.ndjson", {**document, "id": "d"}))
    assert list(exported()) == ["Bundle/d"]


def test_what_is_refused_is_told_with_its_place_and_the_rest_is_loaded() -> None:
    bad = {"resourceType": "Patient", "id": "bad", "colour": "green"}
    file = written("a.ndjson", PATIENT, bad, {**PATIENT, "id": "p2"})
    with open(file, "a") as more:
        more.write("{not JSON\n")
    done = fhirstore("load", file)
    assert done.exit_code == 1
    assert "2 resources loaded" in done.stdout
    assert "2 refused, see load-errors.ndjson" in done.stdout
    first, second = refusals()
    assert (first["where"], first["resource"]) == ("a.ndjson:2", "Patient/bad")
    assert "colour" in first["issue"][0]["expression"][0] or "colour" in first["issue"][0]["diagnostics"]
    assert (second["where"], second["resource"]) == ("a.ndjson:4", None)
    assert sorted(exported()) == ["Patient/p1", "Patient/p2"]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (bundle("collection", {"fullUrl": "http://example.org/1"}), "Bundle.entry[0] has no resource"),
        (bundle("history", {"resource": PATIENT}), "A history Bundle holds versions"),
        (
            bundle(
                "transaction",
                {"resource": {"resourceType": "Patient", "x": 1}, "request": {"method": "POST", "url": "Patient"}},
            ),
            "x",
        ),
        (bundle("batch", {"request": {"method": "PUT", "url": "Patient/1"}}), "resource"),
    ],
)
def test_bundles_that_cannot_be_loaded_are_refused(content: dict[str, Any], wanted: str) -> None:
    assert fhirstore("load", written("b.json", content)).exit_code == 1
    assert wanted in json.dumps(refusals())


def test_a_broken_gzip_file_is_refused() -> None:
    Path("a.ndjson.gz").write_bytes(gzip.compress(json.dumps(PATIENT).encode() * 1000)[:60])
    assert fhirstore("load", "a.ndjson.gz").exit_code == 1
    assert "cannot be read" in refusals()[0]["issue"][0]["diagnostics"]


def test_with_a_state_a_load_goes_on_where_it_stopped() -> None:
    file = written("a.ndjson", PATIENT, {**PATIENT, "id": "p2"})
    assert fhirstore("load", "--state", "s.json", file).stdout.startswith("2 resources loaded")
    with open(file, "a") as more:
        more.write(json.dumps({**PATIENT, "id": "p3"}) + "\n")
    assert fhirstore("load", "--state", "s.json", file).stdout.startswith("1 resources loaded")
    assert len(exported()) == 3


def test_the_state_counts_whole_lines_only() -> None:
    many = bundle("collection", *({"resource": {**PATIENT, "id": f"p{n}"}} for n in range(3)))
    file = written("a.ndjson", many, PATIENT)
    fhirstore("load", "--state", "s.json", file)
    assert json.loads(Path("s.json").read_text())["done"] == {"a.ndjson": 2}


def test_a_state_of_another_target_is_refused() -> None:
    file = written("a.ndjson", PATIENT)
    fhirstore("load", "--state", "s.json", file)
    done = fhirstore("load", "--state", "s.json", "--store", "sqlite:///other.db", file)
    assert done.exit_code == 2
    assert "sqlite:///./fhirstore.db" in done.stderr


def test_a_file_that_is_no_state_is_refused() -> None:
    Path("s.json").write_text("[]")
    assert "this is not the state of a load" in fhirstore("load", "--state", "s.json", written("a.ndjson")).stderr


def test_export_writes_only_the_types_asked_for() -> None:
    fhirstore("load", written("a.ndjson", PATIENT, {"resourceType": "Practitioner", "id": "x"}))
    assert list(exported("--type", "Practitioner")) == ["Practitioner/x"]
    assert fhirstore("export", "out", "--type", "Practicioner").exit_code == 2


def test_export_leaves_no_unfinished_file() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    fhirstore("export", "out")
    assert [p.name for p in Path("out").iterdir()] == ["Patient.ndjson"]


# --- reindex ----------------------------------------------------------------------------------------


def test_reindex_has_nothing_to_do_on_a_store_of_the_same_schema() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    assert fhirstore("reindex").stdout == "Nothing is pending: every search parameter is indexed.\n"


def test_reindex_indexes_what_a_new_plugin_asks_for() -> None:
    fhirstore("load", written("a.ndjson", {**PATIENT, "maritalStatus": {"text": "Rennes"}}))
    folder = package("birthplace")
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "date": "2026-01-01",
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {
                        "type": "Patient",
                        "interaction": [{"code": "read"}, {"code": "create"}, {"code": "search-type"}],
                        "searchParam": [
                            {
                                "name": "birth-city",
                                "definition": PACKAGE["SearchParameter-birth-city.json"]["url"],
                                "type": "string",
                            }
                        ],
                    }
                ],
            }
        ],
    }
    options = ("--plugin", folder, "--capability", written("statement.json", statement))
    done = fhirstore("reindex", *options)
    assert done.exit_code == 0, done.output
    assert "Patient.birth-city" in done.stdout
    assert "1 resources indexed" in done.stdout
    assert "Nothing is pending" in fhirstore("reindex", *options).stdout


# --- serve, and load to a server --------------------------------------------------------------------


@dataclass
class Running:
    process: subprocess.Popen[str]
    base: str

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base + path, timeout=20) as answer:
            return json.load(answer)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def served(*arguments: str) -> Iterator[Running]:
    """A server process; what it was started with is up when it has said so on stderr."""
    command = [sys.executable, "-m", "fhirstore", *arguments, "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if " at http://" in line:
                    yield Running(process, line.split(" at ")[1].split()[0])
                    break
            else:
                pytest.fail("".join(said))
        finally:
            process.terminate()
            process.communicate(timeout=40)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    with served("serve", "--store", f"sqlite:///{folder}/served.db", "--workers", "1", "--threads", "2") as running:
        yield running


def test_serve_answers_when_it_says_so(server: Running) -> None:
    assert server.get("/metadata")["resourceType"] == "CapabilityStatement"
    with urllib.request.urlopen(server.base.replace("/fhir", "/health/ready"), timeout=20) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /fhir/Patient?name=" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /fhir/Patient HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", b"431"),
        (b"\0\1\2\r\n\r\n", b"400"),
        (b"GET /fhir/Patient HTTP/1.1\r\nBad Name: 1\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_http_is_refused_by_an_outcome(server: Running, request_bytes: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(server.base.split(":")[2].split("/")[0])), timeout=20) as client:
        client.sendall(request_bytes)
        head, _, body = b"".join(iter(lambda: client.recv(1 << 16), b"")).partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert json.loads(body)["resourceType"] == "OperationOutcome"


def test_load_sends_to_a_server(server: Running) -> None:
    done = fhirstore(
        "load", "--to", server.base, written("a.ndjson", *({**PATIENT, "id": f"to{n}"} for n in range(250)))
    )
    assert done.stdout.startswith("250 resources loaded"), done.output
    assert server.get("/Patient/to249")["name"] == [{"family": "Durand"}]


def test_load_to_a_server_tells_the_bad_from_the_good(server: Running) -> None:
    bad = {"resourceType": "Patient", "id": "bad", "colour": "green"}
    done = fhirstore(
        "load", "--to", server.base, written("a.ndjson", {**PATIENT, "id": "g1"}, bad, {**PATIENT, "id": "g2"})
    )
    assert done.exit_code == 1
    assert [r["resource"] for r in refusals()] == ["Patient/bad"]
    assert [server.get(f"/Patient/{id}")["id"] for id in ("g1", "g2")] == ["g1", "g2"]


def test_load_posts_transactions_as_they_are(server: Running) -> None:
    entry = {"resource": PATIENT, "request": {"method": "PUT", "url": "Patient/p1"}}
    wrong = {"resource": {**PATIENT, "x": 1}, "request": {"method": "PUT", "url": "Patient/p1"}}
    file = written("a.ndjson", bundle("transaction", entry), bundle("transaction", wrong))
    done = fhirstore("load", "--to", server.base, file)
    assert "1 resources loaded" in done.stdout
    assert [r["where"] for r in refusals()] == ["a.ndjson:2"]


def test_load_says_when_there_is_no_server() -> None:
    done = fhirstore("load", "--to", f"http://127.0.0.1:{free_port()}/fhir", written("a.ndjson", PATIENT))
    assert done.exit_code == 2
    assert "the server cannot be reached" in done.stderr


def test_serve_ends_with_status_0_when_told_to_stop() -> None:
    with served("serve", "--workers", "1") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(40) == 0


def test_serve_refuses_an_address_in_use(server: Running) -> None:
    port = server.base.split(":")[2].split("/")[0]
    done = fhirstore("serve", "--port", port)
    assert done.exit_code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_the_demo_of_a_plugin_is_loaded_served_and_shown(server: Running) -> None:
    pytest.importorskip("fhirstore_sas")
    with served("demo", "--serve", "--plugin", "sas", "--workers", "1") as running:
        assert running.get("/Slot?_summary=count")["total"] > 0
        running.process.terminate()
        assert running.process.stdout is not None
        assert f"curl '{running.base}/Slot?" in running.process.stdout.read()
