"""The relay under faults: our server, the platform and our database, where it is a server, are killed at random, the
platform misbehaves; nothing is lost, doubled or overtaken.

RELAY_APPOINTMENTS in the environment says how many appointments there are (40, or 1000 in `make test-deep`).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from support.bookings import EDITOR, sas_appointment
from support.mongo import Mongo, Replica
from support.process import Process
from support.relay_certificates import Certificates
from support.rights import user
from support.sas_platform import Platform, identifier, relay_config
from support.sizes import size

APPOINTMENTS = size("RELAY_APPOINTMENTS", quick=40, deep=1000)
PATIENCE_S = 600 if APPOINTMENTS > 100 else 60
REVISIONS = 4
VICTIMS = ("platform", "server", "platform", "server")
VICTIMS_WITH_DATABASE = ("platform", "database", "server", "database")


def body(n: int, revision: int) -> dict[str, Any]:
    """The revision is in an element that the platform receives."""
    status = "cancelled" if revision == REVISIONS else "booked"
    return sas_appointment(f"n{n}", id=f"a{n}", priority=revision, status=status)


class Editor:
    """The editor's software: writes every revision of its appointments, each until it is acknowledged."""

    def __init__(self, server: Process, seed: int):
        self.server, self.acknowledged = server, 0
        self._dice, self._errors = random.Random(seed), []
        self._left = [(n, r) for n in range(APPOINTMENTS) for r in range(1, 1 + self._dice.randint(1, REVISIONS))]
        self._left.sort(key=lambda one: (one[1] + self._dice.random() * 2, one[0]))
        self._left = self._in_order(self._left)
        self.last = {n: max(r for m, r in self._left if m == n) for n in range(APPOINTMENTS)}
        self.total = len(self._left)
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._write, args=(part,)) for part in range(4)]

    @staticmethod
    def _in_order(jobs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The same appointments at the same places, each with its revisions in order."""
        revisions: dict[int, list[int]] = defaultdict(list)
        for n, r in jobs:
            revisions[n].append(r)
        ordered = {n: iter(sorted(found)) for n, found in revisions.items()}
        return [(n, next(ordered[n])) for n, _ in jobs]

    def _write(self, part: int) -> None:
        dice = random.Random(part)
        for n, revision in self._left:
            if n % 4 == part:
                time.sleep(dice.random() * 0.2)  # so that the relay has time to send what is between first and last
                self._until_acknowledged(n, revision)
                with self._lock:
                    self.acknowledged += 1

    def _until_acknowledged(self, n: int, revision: int) -> None:
        while True:
            try:
                status, _, answer = self.server.call("PUT", f"Appointment/a{n}", body(n, revision))
            except (OSError, HTTPException, ValueError) as problem:  # a server that is gone has many names
                status, answer = 0, problem
            if status in (200, 201):
                return
            if 400 <= status < 500:
                self._errors.append(answer)
                return
            time.sleep(0.05)

    def finish(self) -> None:
        for thread in self.threads:
            thread.join()
        assert self._errors == []


def eventually(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.05)


def outstanding(server: Process) -> int:
    """Appointments that the outbox still has, as /metrics says."""
    text = server.text("/metrics")
    found = [line for line in text.splitlines() if line.startswith("fhirstore_sas_outbox_appointments")]
    return (
        sum(int(float(line.split()[-1])) for line in found) if found else APPOINTMENTS
    )  # the store cannot be read now


@pytest.fixture(params=["sqlite", "mongodb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mongo | None]:
    """Of its own, so that it can be killed; None = a file."""
    if request.param == "sqlite":
        yield None
        return
    uri = os.environ.get("MONGODB_URI")
    # What a killed server leaves open holds its documents for so long, as in MongoDB (there a minute).
    made = Mongo(uri) if uri else Replica(tmp_path / "journal", "--lifetime-s", "2", *user("fhirstoreServer"))
    yield made
    made.close()


@pytest.mark.timeout(2400 if APPOINTMENTS > 100 else 120)
def test_kills_and_faults_lose_double_and_reorder_nothing(tmp_path: Path, database: Mongo | None) -> None:
    dice = random.Random(20261126)
    platform = Platform(Certificates.make(tmp_path).folder)
    server = Process(
        f"sqlite:///{tmp_path / 'store.db'}" if database is None else database.url(tmp_path),
        "--plugin", "sas", "--capability", "sas-editor",
        "--config", str(relay_config(tmp_path / "fhirstore.json", platform)), workers=2, log=tmp_path / "log",
    )  # fmt: skip
    editor = Editor(server, 7)
    kills = Counter[str]()
    try:
        for thread in editor.threads:
            thread.start()
        eventually(lambda: editor.acknowledged > editor.total // 8)  # the platform is down at first
        platform.start(faults=0.3)
        rounds = 5 + APPOINTMENTS // 50
        for number in range(rounds):
            goal = editor.total * (number + 2) // (rounds + 2)
            eventually(lambda goal=goal: editor.acknowledged >= goal)
            time.sleep(dice.random() * 0.8)
            victim = (VICTIMS_WITH_DATABASE if isinstance(database, Replica) else VICTIMS)[number % 4]
            kills[victim] += 1
            if victim == "server":
                server.kill()
                server.start()
            elif isinstance(database, Replica) and victim == "database":
                database.kill()
                time.sleep(dice.random())
                database.start()
            else:
                platform.kill()
                time.sleep(dice.random())
                platform.start(faults=0.3)
        editor.finish()
        # Some are left for a platform that behaves.
        platform.kill()
        platform.start()
        eventually(lambda: outstanding(server) == 0)
    finally:
        for thread in editor.threads:
            thread.join(1)
        server.kill()
        platform.kill()

    taken = platform.taken()
    by_appointment: dict[str, list[int]] = defaultdict(list)
    for one in taken:
        by_appointment[identifier(one["body"])].append(one["body"]["priority"])
    wanted = {f"{EDITOR}|n{n}": last for n, last in editor.last.items()}
    assert by_appointment.keys() == wanted.keys()
    assert {key: found[-1] for key, found in by_appointment.items()} == wanted
    assert [key for key, found in by_appointment.items() if found != sorted(found)] == []
    assert Counter(identifier(one["body"]) for one in taken if one["created"]) == dict.fromkeys(wanted, 1)
    final = {identifier(one["body"]): one["body"]["status"] for one in taken}
    assert Counter(final.values())["cancelled"] == sum(last == REVISIONS for last in editor.last.values())
    assert len(kills) == (3 if isinstance(database, Replica) else 2)
    assert kills.total() >= 5
    print(f"{len(wanted)} appointments, {editor.total} revisions, {len(taken)} messages taken in, kills {dict(kills)}")  # noqa: T201
