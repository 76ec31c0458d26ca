"""Writers that meet, through several worker processes: one winner each, nothing lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from support.api import patient
from support.process import Process

WRITERS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("concurrency") / "store.db", workers=2, threads=4)
    yield process
    process.stop()


def at_once(server: Process, calls: list[tuple[Any, ...]]) -> list[tuple[int, dict[str, str], Any]]:
    barrier = Barrier(len(calls))

    def call(arguments: tuple[Any, ...]) -> tuple[int, dict[str, str], Any]:
        barrier.wait()
        return server.call(*arguments)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def known(value: str, **more: Any) -> dict[str, Any]:
    return patient(identifier=[{"system": "urn:x", "value": value}], **more)


def test_of_twenty_if_match_updates_one_wins(server: Process) -> None:
    one = server.call("POST", "Patient", patient())[2]
    calls = [
        ("PUT", f"Patient/{one['id']}", {**one, "name": [{"family": f"W{n}"}]}, {"If-Match": 'W/"1"'})
        for n in range(WRITERS)
    ]
    answers = at_once(server, calls)
    assert Counter(status for status, _, _ in answers) == {200: 1, 412: WRITERS - 1}
    winner = next(body for status, _, body in answers if status == 200)
    assert server.call("GET", f"Patient/{one['id']}")[2] == winner
    assert server.call("GET", f"Patient/{one['id']}/_history")[2]["total"] == 2


def test_twenty_updates_without_if_match_are_twenty_versions(server: Process) -> None:
    one = server.call("POST", "Patient", patient())[2]
    answers = at_once(
        server, [("PUT", f"Patient/{one['id']}", {**one, "name": [{"family": f"W{n}"}]}) for n in range(WRITERS)]
    )
    assert {status for status, _, _ in answers} == {200}
    assert sorted(int(h["ETag"][3:-1]) for _, h, _ in answers) == list(range(2, WRITERS + 2))


def test_twenty_conditional_creates_give_one_resource(server: Process) -> None:
    answers = at_once(
        server, [("POST", "Patient", known("create"), {"If-None-Exist": "identifier=urn:x|create"})] * WRITERS
    )
    assert Counter(status for status, _, _ in answers) == {201: 1, 200: WRITERS - 1}
    assert server.call("GET", "Patient?identifier=urn:x|create")[2]["total"] == 1


def test_twenty_conditional_updates_give_one_resource(server: Process) -> None:
    answers = at_once(
        server,
        [
            ("PUT", "Patient?identifier=urn:x|update", known("update", name=[{"family": f"W{n}"}]))
            for n in range(WRITERS)
        ],
    )
    assert Counter(status for status, _, _ in answers) == {201: 1, 200: WRITERS - 1}
    found = server.call("GET", "Patient?identifier=urn:x|update")[2]
    assert found["total"] == 1
    assert found["entry"][0]["resource"]["meta"]["versionId"] == str(WRITERS)


def test_twenty_transactions_with_one_conditional_create_give_one_resource(server: Process) -> None:
    entry = {
        "resource": known("bundle"),
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:x|bundle"},
    }
    answers = at_once(
        server, [("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})] * WRITERS
    )
    assert {status for status, _, _ in answers} == {200}
    assert Counter(body["entry"][0]["response"]["status"][:3] for _, _, body in answers) == {
        "201": 1,
        "200": WRITERS - 1,
    }
