"""A MongoDB for tests: the server of MONGODB_URI, or else stand-ins that speak its protocol. Tests use pymongo.

`mongo` is mongoeco, an independent implementation that runs on Python 3.13 in its own environment. It shows that
filters, sort orders, updates and indexes mean what we think. It differs from MongoDB; docstrings of tests say where
that matters:

- It is not a replica set (no setName), but has transactions.
- One of two concurrent transactions fails at its commit, whatever they write, without an error label.
- Snapshot reads outside of transactions see later writes.
- It accepts indexes over two arrays, 65 indexes on a collection, and documents over 16 MB.
- It answers one command at a time, heartbeats included, and copies all data for each transaction. Databases are small
  and are dropped after each test.
- It does not use indexes. Tests compare the filter of a search with the definitions of the indexes.

`replica` is our own stand-in (see support/replica), for transactions, concurrent writers, faults and crashes.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pymongo
import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = "4.11.0"

SERVERS = ("mongo",) if os.environ.get("MONGODB_URI") else ("mongo", "replica")
"""The fixtures of the servers that the MongoDB engine is tested on."""


class Mongo:
    """A server. Each folder of a test has its own database."""

    def __init__(self, uri: str, process: subprocess.Popen[str] | None = None):
        self.uri, self._process = uri, process
        self._databases: set[str] = set()

    def url(self, folder: Path | str) -> str:
        """The store URL of the database that belongs to the folder."""
        name = _database(folder)
        self._databases.add(name)
        return self.named(name)

    def named(self, database: str) -> str:
        return re.sub(r"^(mongodb(?:\+srv)?://[^/?]+)/?[^?]*", rf"\1/{database}", self.uri)

    def client(self) -> pymongo.MongoClient[dict[str, object]]:
        return pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=10_000)

    def drop(self, folder: Path | str) -> None:
        """Drops the database of the folder."""
        if (name := _database(folder)) in self._databases:
            with self.client() as client:
                client.drop_database(name)
            self._databases.remove(name)

    def close(self) -> None:
        if self._process is None:
            with self.client() as client:
                for name in self._databases:
                    client.drop_database(name)
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _database(folder: Path | str) -> str:
    return f"fhirstore_test_{sha256(str(folder).encode()).hexdigest()[:16]}"


def start_server() -> Mongo:
    """The server for this test run. Skips the test if none can be started; fails instead if CI is set."""
    if uri := os.environ.get("MONGODB_URI"):
        return Mongo(uri)
    python = _interpreter()
    if python is None:
        raise _missing("no Python 3.13 for the MongoDB stand-in (name one in FHIRSTORE_PYTHON313)")
    return start_stand_in(_environment(python))


def start_stand_in(python: Path, port: int = 0) -> Mongo:
    """A new stand-in. port: 0 for any."""
    process = subprocess.Popen(
        [str(python), "-I", str(Path(__file__).with_name("mongoeco_server.py")), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.strip().isdigit():
        process.kill()
        process.wait()
        raise AssertionError("the MongoDB stand-in did not start")
    return Mongo(f"mongodb://127.0.0.1:{line.strip()}/?directConnection=true&connectTimeoutMS=60000", process)


class Replica(Mongo):
    """Our own stand-in, with a journal in a file. It can be killed and started again on the same port."""

    def __init__(self, file: Path, *options: str):
        self._file, self._options = file, options
        self.port = 0
        super().__init__("")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "support.replica", str(self._file), "--port", str(self.port), *self._options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT / "tests"
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line.isdigit():
            raise AssertionError("the replica set of one node did not start")
        self.port = int(line)
        self.uri = f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def kill(self) -> None:
        """kill -9"""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


def _missing(text: str) -> BaseException:
    outcome = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
    return outcome.Exception(text)


def _interpreter() -> str | None:
    """The path of a Python 3.13, None if there is none."""
    candidates: Sequence[str | None] = [
        os.environ.get("FHIRSTORE_PYTHON313"),
        shutil.which("python3.13"),
        *(str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))),
    ]
    for one in candidates:
        if (
            one
            and shutil.which(one)
            and subprocess.run([one, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return one
    return None


def _environment(python: str) -> Path:
    """The interpreter of a virtual environment with mongoeco, made on first use."""
    folder = ROOT / ".cache" / f"mongoeco-{VERSION}"
    inside = folder / "bin" / "python"
    folder.parent.mkdir(exist_ok=True)
    with open(folder.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            for command in ([python, "-m", "venv", "--clear", str(folder)], [*pip, f"mongoeco[wire]=={VERSION}"]):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise _missing(f"the MongoDB stand-in cannot be installed: {done.stderr[-500:]}")
            (folder / "ready").touch()
    return inside
