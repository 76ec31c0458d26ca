"""Installed packages as a running server shows them, over HTTP, from the file to the answer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.mongo import SERVERS, Mongo
from support.packages import BASE, parameter, profile, served, statement, tgz
from support.process import Process

CORE = "http://hl7.org/fhir/SearchParameter/"
PROFILE = f"{BASE}/StructureDefinition/named-patient"
SHOE_SIZE = f"{BASE}/SearchParameter/shoe-size"
STATEMENT = statement(
    "registry",
    served(
        "Patient",
        ("name", f"{CORE}Patient-name", "string"),
        ("shoe-size", SHOE_SIZE, "string"),
        supportedProfile=[PROFILE],
    ),
    served("StructureDefinition", ("url", f"{CORE}conformance-url", "uri")),
)


SHORT_LEASE = """
from dataclasses import replace
from fhirstore.cli import main
from fhirstore.interactions import packaged
packaged.OPTIONS = replace(packaged.OPTIONS, lease_s=2.0)
main()
"""
"""`fhirstore`, for which the next server does not wait so long when it is killed while it publishes."""


def package(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fhirstore", "package", *arguments, "--package-folder", str(folder / "packages")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def guide(folder: Path, version: str, *more: dict[str, Any]) -> str:
    resources = (profile(version=version), parameter(), STATEMENT, *more)
    return str(tgz(folder / f"{version}.tgz", "test.guide", version, *resources))


@pytest.fixture(params=("sqlite", SERVERS[-1]))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store, of each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/x.db"
        return
    mongo: Mongo = request.getfixturevalue(request.param)
    yield mongo.url(tmp_path)
    mongo.drop(tmp_path)


@contextmanager
def serving(folder: Path, store: str | None = None) -> Iterator[Process]:
    options = ("--package-folder", str(folder / "packages"), "--capability", "Registry")
    server = Process(store or f"sqlite:///{folder}/x.db", *options, log=folder / "x.log")
    try:
        yield server
    finally:
        server.stop()


def wait(holds: Callable[[], bool], server: Process) -> None:
    give_up = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up, server.log.read_text()[-3000:]
        time.sleep(0.05)


def ids(server: Process, query: str) -> list[str]:
    status, _, answer = server.call("GET", query)
    assert status == 200, answer
    return [e["resource"]["id"] for e in answer.get("entry", [])]


def test_from_the_file_of_a_guide_to_its_answers(tmp_path: Path, store: str) -> None:
    done = package(tmp_path, "add", guide(tmp_path, "1.0.0"))
    assert done.returncode == 0, done.stderr
    with serving(tmp_path, store) as server:
        _, _, metadata = server.call("GET", "metadata")
        (patient,) = (r for r in metadata["rest"][0]["resource"] if r["type"] == "Patient")
        assert metadata["url"] == STATEMENT["url"]
        assert {"name": "shoe-size", "definition": SHOE_SIZE, "type": "string"} in patient["searchParam"]
        assert patient["supportedProfile"] == [PROFILE]

        for id, text in (("a", "42"), ("b", "39")):
            body = {"resourceType": "Patient", "id": id, "maritalStatus": {"text": text}}
            assert server.call("PUT", f"Patient/{id}", body)[0] == 201
        assert ids(server, "Patient?shoe-size=42") == ["a"]

        assert ids(server, f"StructureDefinition?url={PROFILE}") == ["named-patient"]
        status, _, read = server.call("GET", "StructureDefinition/named-patient")
        assert (status, read["url"], read["version"]) == (200, PROFILE, "1.0.0")
        assert server.call("DELETE", "StructureDefinition/named-patient")[0] == 403
        assert server.call("GET", "ValueSet")[0] == 404


def test_a_running_server_takes_a_new_package_on_sighup(tmp_path: Path, store: str) -> None:
    package(tmp_path, "add", guide(tmp_path, "1.0.0"))
    with serving(tmp_path, store) as server:
        body = {"resourceType": "Patient", "id": "a", "maritalStatus": {"text": "42"}}
        assert server.call("PUT", "Patient/a", body)[0] == 201
        done = package(tmp_path, "add", guide(tmp_path, "1.1.0", parameter("more", "Patient.contact.name.text")))
        assert done.returncode == 0, done.stderr
        assert ids(server, f"StructureDefinition?url={PROFILE}") == ["named-patient"]  # before SIGHUP
        server.process.send_signal(signal.SIGHUP)
        wait(lambda: "1.1.0" in str(server.call("GET", "StructureDefinition/named-patient")[2]), server)

        def shown() -> bool:
            return "'name': 'more'" in str(server.call("GET", "metadata")[2])

        wait(lambda: all(shown() for _ in range(8)), server)  # all workers
        assert ids(server, f"StructureDefinition?url={PROFILE}") == ["named-patient", "named-patient-1.0.0"]
        assert server.call("PUT", "Patient/b", {"resourceType": "Patient", "id": "b"})[0] == 201
        assert ids(server, "Patient?shoe-size=42") == ["a"]


def test_a_broken_package_leaves_a_running_server_as_it_is(tmp_path: Path) -> None:
    package(tmp_path, "add", guide(tmp_path, "1.0.0"))
    with serving(tmp_path) as server:
        clash = tgz(tmp_path / "bad.tgz", "test.bad", "1.0.0", parameter(expression="Patient.name.where("))
        done = package(tmp_path, "add", "--strict", str(clash))
        assert (done.returncode, "shoe-size.json" in done.stderr) == (2, True)
        # Even what gets past the checks, by hand, does not stop it.
        broken = tmp_path / "packages" / "test.guide#2.0.0" / "package"
        broken.mkdir(parents=True)
        (broken / "package.json").write_text("{")
        server.process.send_signal(signal.SIGHUP)
        wait(lambda: "the previous definitions stay in effect" in server.log.read_text(), server)
        assert "test.guide#2.0.0: package.json: not valid JSON" in server.log.read_text()
        wait(lambda: server.call("GET", "/health/ready")[0] == 200, server)
        assert ids(server, f"StructureDefinition?url={PROFILE}") == ["named-patient"]
        assert server.call("PUT", "Patient/c", {"resourceType": "Patient", "id": "c"})[0] == 201


def test_servers_that_are_killed_while_they_start_leave_a_store_that_the_next_completes(tmp_path: Path) -> None:
    profiles = [profile(f"p{n}", url=f"{BASE}/p{n}") for n in range(999)]
    assert package(tmp_path, "add", guide(tmp_path, "1.0.0", *profiles)).returncode == 0
    options = ["--package-folder", str(tmp_path / "packages"), "--capability", "Registry", "--port", "0"]
    command = [sys.executable, "-c", SHORT_LEASE, "serve", "--store", f"sqlite:///{tmp_path}/x.db", *options]
    for _ in range(3):
        before = stored(tmp_path)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            while process.poll() is None and stored(tmp_path) == before < 1000:
                time.sleep(0.01)
            os.killpg(process.pid, signal.SIGKILL)
    with serving(tmp_path) as server:
        assert len(ids(server, "StructureDefinition?_count=1000")) == 1000
        assert ids(server, f"StructureDefinition?url={BASE}/p998") == ["p998"]
        assert server.call("PUT", "StructureDefinition/p998", profile("p998"))[0] == 403
        assert {server.call("GET", f"StructureDefinition/p{n}")[2]["meta"]["versionId"] for n in (0, 500, 998)} == {"1"}


def stored(folder: Path) -> int:
    """How many resources the store holds."""
    try:
        with closing(sqlite3.connect(f"file:{folder}/x.db?mode=ro", uri=True)) as db:
            found: int = db.execute("SELECT count(*) FROM docs").fetchone()[0]
            return found
    except sqlite3.OperationalError:  # not yet made
        return 0


@pytest.mark.parametrize("kind", ["package", "plugin"])
def test_what_a_package_brings_is_shown_with_plugins_and_without(tmp_path: Path, kind: str) -> None:
    file = guide(tmp_path, "1.0.0")
    if kind == "package":
        package(tmp_path, "add", file)
    options = ["--package-folder", str(tmp_path / "packages"), *(["--plugin", file] if kind == "plugin" else [])]
    server = Process(tmp_path / "x.db", *options, workers=1)
    try:
        assert ids(server, f"StructureDefinition?url={PROFILE}&_elements=url") == ["named-patient"]
        assert ids(server, "SearchParameter?name=shoe") == ["shoe-size"]
        assert "shoe-size" in str(server.call("GET", "metadata")[2])
    finally:
        server.stop()
