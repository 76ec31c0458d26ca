"""Many bookings of one slot at once, through several worker processes: one appointment, all others 409."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from support.bookings import appointment, slot
from support.process import Process

WRITERS = {"sqlite": 100, "mongodb": 40}


@pytest.fixture(scope="module", params=WRITERS)
def writers(request: pytest.FixtureRequest) -> int:
    return WRITERS[request.param]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, writers: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("writers")
    store = () if writers == WRITERS["sqlite"] else ("--store", request.getfixturevalue("replica").url(folder))
    process = Process(
        folder / "store.db", "--plugin", "sas", "--capability", "sas-editor", *store, workers=3, threads=8
    )
    yield process
    process.stop()


def at_once(server: Process, bodies: list[dict[str, Any]]) -> list[tuple[int, dict[str, str], Any]]:
    barrier = Barrier(len(bodies))

    def book(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        barrier.wait()
        return server.call("POST", "Appointment", body)

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(book, bodies))


def test_of_many_bookings_of_one_slot_one_wins(server: Process, writers: int) -> None:
    assert server.call("PUT", "Slot/a", slot("a"))[0] == 201
    answers = at_once(server, [appointment("a", comment=str(n)) for n in range(writers)])
    assert Counter(status for status, _, _ in answers) == {201: 1, 409: writers - 1}
    assert {body["issue"][0]["code"] for status, _, body in answers if status == 409} <= {"conflict", "duplicate"}
    found = server.call("GET", "Slot/a")[2]
    assert (found["status"], found["meta"]["versionId"]) == ("busy", "2")
    winner = next(body for status, _, body in answers if status == 201)
    booked = server.call("GET", "Appointment?slot=Slot/a")[2]
    assert [e["resource"]["id"] for e in booked["entry"]] == [winner["id"]]


def test_concurrent_bookings_of_two_slots_leave_none_half_booked(server: Process, writers: int) -> None:
    """Half want both slots, half one of them: whoever wins, each busy slot has one appointment."""
    for id in ("b", "c"):
        assert server.call("PUT", f"Slot/{id}", slot(id))[0] == 201
    wishes = (("b", "c"), ("c", "b"), ("b",), ("c",))
    answers = at_once(server, [appointment(*wishes[n % 4], comment=str(n)) for n in range(writers // 2)])
    assert {status for status, _, _ in answers} == {201, 409}
    won = [body for status, _, body in answers if status == 201]
    held = [s["reference"] for body in won for s in body["slot"]]
    assert sorted(held) == ["Slot/b", "Slot/c"]
    assert [server.call("GET", ref)[2]["status"] for ref in held] == ["busy", "busy"]


def test_an_agenda_that_is_imported_all_the_while_frees_no_slot_that_is_taken(server: Process, writers: int) -> None:
    """Some book and cancel, others write the slot as free and as unavailable: in the end it is busy just if an
    appointment has it."""
    assert server.call("PUT", "Slot/d", slot("d"))[0] == 201
    barrier = Barrier(8)

    def work(n: int) -> Counter[str]:
        barrier.wait()
        done = Counter[str]()
        for turn in range(writers // 8):
            if n % 2:
                status = "busy-unavailable" if n == 7 and turn % 3 == 0 else "free"
                done[f"slot {server.call('PUT', 'Slot/d', slot('d', status) | {'comment': f'{n} {turn}'})[0]}"] += 1
                continue
            answer, _, made = server.call("POST", "Appointment", appointment("d", comment=f"{n} {turn}"))
            done[f"booked {answer}"] += 1
            if answer == 201 and turn == writers // 8 - 1:
                continue
            if answer == 201 and turn % 2 == 0:
                done[f"freed {server.call('DELETE', 'Appointment/' + made['id'])[0]}"] += 1
            elif answer == 201:
                gone = appointment("d", status="cancelled", id=made["id"])
                done[f"freed {server.call('PUT', 'Appointment/' + made['id'], gone)[0]}"] += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(work, range(8)), Counter[str]())
    assert set(done) <= {"slot 200", "booked 201", "booked 409", "freed 204", "freed 200"}, done
    booked = server.call("GET", "Appointment?slot=Slot/d&status=booked")[2].get("entry", [])
    assert len(booked) <= 1
    found = server.call("GET", "Slot/d")[2]["status"]
    assert (found != "free") if booked else (found in ("free", "busy-unavailable"))
    for entry in booked:
        assert server.call("DELETE", "Appointment/" + entry["resource"]["id"])[0] == 204
    assert server.call("PUT", "Slot/d", slot("d"))[2]["status"] == "free"
