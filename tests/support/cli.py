"""The command line, run in the folder of the test, and servers in other processes."""

from __future__ import annotations

import gzip
import json
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

from fhirstore.cli import cli
from support.ports import free_port

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


def fhirstore(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def written(file: str, *resources: dict[str, Any]) -> str:
    """Writes the resources to a file, as NDJSON (one resource as JSON with the suffix .json), and returns its name."""
    text = "\n".join(json.dumps(r) for r in resources) + "\n"
    data = gzip.compress(text.encode()) if file.endswith(".gz") else text.encode()
    Path(file).write_bytes(data)
    return file


def exported(*options: str) -> dict[str, dict[str, Any]]:
    """The resources of the store by Type/id, without the meta of the server."""
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


def package(folder: str) -> str:
    """A folder with a FHIR package that adds a search parameter to Patient."""
    Path(folder, "package").mkdir(parents=True)
    for name, content in PACKAGE.items():
        Path(folder, "package", name).write_text(json.dumps(content))
    return folder


@dataclass
class Running:
    process: subprocess.Popen[str]
    base: str

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.base + path, timeout=20) as answer:
            return json.load(answer)


@contextmanager
def served(*arguments: str) -> Iterator[Running]:
    """A server process. It is ready when it prints its URL to stderr."""
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
