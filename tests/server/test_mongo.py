"""Two servers on one MongoDB: one winner each; killed servers and killed databases lose nothing.

The database is the replica set of one node of our own (support/replica): its journal on disk and its transactions show
what the servers make of a database that dies and comes back. They do not show that MongoDB itself keeps what it has
acknowledged, nor an election: that takes a real replica set (docs/mongodb.md).
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.api import patient
from support.mongo import Replica
from support.process import Process
from support.rights import user

WRITERS = 20
Answer = tuple[int, dict[str, str], Any]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    rights = user("fhirstoreServer", database="fhir")
    server = Replica(tmp_path_factory.mktemp("database") / "journal", "--lifetime-s", "2", *rights)
    yield server
    server.close()


@pytest.fixture(scope="module")
def servers(database: Replica, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    folder = tmp_path_factory.mktemp("servers")
    url = database.named("fhir") + "&serverSelectionTimeoutMS=500"
    made = [Process(url, workers=1, threads=10, log=folder / f"{n}.log") for n in range(2)]
    yield made
    for server in made:
        server.stop()


def at_once(servers: list[Process], calls: list[tuple[Any, ...]]) -> list[Answer]:
    """The calls through both servers in turn, all begun together."""
    barrier = threading.Barrier(len(calls))

    def call(n: int) -> Answer:
        barrier.wait()
        return servers[n % 2].call(*calls[n])

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, range(len(calls))))


def eventually(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.05)


def known(value: str, **more: Any) -> dict[str, Any]:
    return patient(identifier=[{"system": "urn:x", "value": value}], **more)


def test_of_twenty_conditional_creates_of_one_identifier_one_wins(servers: list[Process]) -> None:
    call = ("POST", "Patient", known("one"), {"If-None-Exist": "identifier=urn:x|one"})
    answers = at_once(servers, [call] * WRITERS)

    assert Counter(status for status, _, _ in answers) == {201: 1, 200: WRITERS - 1}
    assert servers[0].call("GET", "Patient?identifier=urn:x|one")[2]["total"] == 1


def test_of_twenty_conditional_creates_with_two_criteria_one_wins(servers: list[Process]) -> None:
    """Half ask for the identifier, half for the name: each would find what the others store."""
    body = known("two", name=[{"family": "Zweig"}])
    calls = [
        ("POST", "Patient", body, {"If-None-Exist": "identifier=urn:x|two" if n % 4 < 2 else "family=Zweig"})
        for n in range(WRITERS)
    ]
    answers = at_once(servers, calls)

    assert Counter(status for status, _, _ in answers) == {201: 1, 200: WRITERS - 1}


def test_of_twenty_updates_of_one_version_one_wins(servers: list[Process]) -> None:
    one = servers[0].call("POST", "Patient", patient())[2]
    calls = [
        ("PUT", f"Patient/{one['id']}", {**one, "name": [{"family": f"W{n}"}]}, {"If-Match": 'W/"1"'})
        for n in range(WRITERS)
    ]
    answers = at_once(servers, calls)

    assert Counter(status for status, _, _ in answers) == {200: 1, 412: WRITERS - 1}
    assert servers[1].call("GET", f"Patient/{one['id']}/_history")[2]["total"] == 2


def test_of_twenty_creates_of_one_id_one_wins(servers: list[Process]) -> None:
    calls = [("PUT", "Patient/same", patient(f"W{n}", id="same")) for n in range(WRITERS)]
    answers = at_once(servers, calls)

    assert Counter(status for status, _, _ in answers) == {201: 1, 200: WRITERS - 1}
    assert sorted(int(headers["ETag"][3:-1]) for _, headers, _ in answers) == list(range(1, WRITERS + 1))
    assert servers[0].call("GET", "Patient/same/_history")[2]["total"] == WRITERS


# --- deaths ---


class Writers:
    """Threads that post Bundles of five linked resources and remember what was acknowledged."""

    def __init__(self, servers: list[Process], run: str):
        self._servers, self._run = servers, run
        self._stop = threading.Event()
        self.acknowledged: list[str] = []
        self.others: list[tuple[int, str | None]] = []  # status and Retry-After of what was not
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(4)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, n: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            tag = f"{self._run}-{n}-{number}"
            try:
                status, headers, _ = self._servers[n % 2].call("POST", "", bundle(tag))
            except (OSError, ValueError):  # the server is dead
                self._stop.wait(0.02)
                continue
            if status == 200:
                self.acknowledged.append(tag)
            else:
                self.others.append((status, headers.get("Retry-After")))


def bundle(tag: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = [
        {"fullUrl": "urn:uuid:3f1c1b0e-0000-4000-8000-000000000000", "resource": known(tag),
         "request": {"method": "POST", "url": "Patient"}}
    ]  # fmt: skip
    observation = {
        "resourceType": "Observation", "status": "final", "code": {"text": tag},
        "subject": {"reference": "urn:uuid:3f1c1b0e-0000-4000-8000-000000000000"},
        "identifier": [{"system": "urn:bundle", "value": tag}],
    }  # fmt: skip
    entries += [{"resource": observation, "request": {"method": "POST", "url": "Observation"}}] * 4
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def whole_bundles(server: Process, run: str) -> set[str]:
    """The tags of the Bundles of a run, none of which is there in part or twice."""
    counts: Counter[str] = Counter()
    for type in ("Patient", "Observation"):
        url = f"{type}?_count=500"
        while url:
            page = server.call("GET", url)[2]
            counts.update(entry["resource"].get("identifier", [{"value": ""}])[0]["value"] for entry in page["entry"])
            url = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), "")
    found = {tag: count for tag, count in counts.items() if re.match(rf"{run}-\d", tag)}
    assert {tag: count for tag, count in found.items() if count != 5} == {}, "in part, or twice"
    return set(found)


def test_a_killed_server_has_lost_nothing_it_acknowledged(servers: list[Process]) -> None:
    with Writers(servers, "server") as writers:
        eventually(lambda: len(writers.acknowledged) > 20)
        servers[0].kill()
        before = len(writers.acknowledged)
        eventually(lambda: len(writers.acknowledged) > before + 10)  # through the other one
        servers[0].start()

    assert set(writers.acknowledged) <= whole_bundles(servers[0], "server")


def test_a_killed_database_has_lost_nothing_and_is_used_again_without_a_restart(
    database: Replica, servers: list[Process]
) -> None:
    def answers(status: int) -> bool:
        """Of searches, reads and readiness, through both servers."""
        paths = ("Patient?_count=1", "Patient/same", "/health/ready")
        return all(server.call("GET", path)[0] == status for server in servers for path in paths)

    pids = [server.process.pid for server in servers]
    with Writers(servers, "database") as writers:
        eventually(lambda: len(writers.acknowledged) > 20)
        database.kill()
        eventually(lambda: answers(503))
        status, headers, outcome = servers[0].call("GET", "Patient?_count=1")
        before = len(writers.acknowledged)
        database.start()
        eventually(lambda: answers(200))
        eventually(lambda: len(writers.acknowledged) > before + 10)

    assert (status, headers["Retry-After"], outcome["issue"][0]["code"]) == (503, "2", "transient")
    assert set(writers.acknowledged) <= whole_bundles(servers[1], "database")
    assert set(writers.others) <= {(503, "2")}
    assert [server.process.pid for server in servers] == pids
    assert all(server.process.poll() is None for server in servers)


def test_logs_of_all_that_show_no_stack_trace(servers: list[Process]) -> None:
    for server in servers:
        assert "Traceback" not in Path(server.log).read_text()
