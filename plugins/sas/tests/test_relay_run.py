"""When the relay tries again, and when it gives up."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.bookings import sas_appointment

from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore_sas.relay import listing, outbox
from fhirstore_sas.relay.message import message_of
from fhirstore_sas.relay.outbox import Lease, Told
from fhirstore_sas.relay.rows import Row, Work
from fhirstore_sas.relay.run import Gate, Relay
from fhirstore_sas.relay.send import Answer
from fhirstore_sas.relay.settings import RelaySettings
from fhirstore_sas.relay.tally import Tally


def relay(dice: float = 1.0, **settings: Any) -> Relay:
    made: Any = Relay(None, RelaySettings("http://127.0.0.1:1", **settings), threading.Event(), lambda: dice)  # type: ignore[arg-type]
    assert isinstance(made, Relay)
    return made


def lease(attempts: int = 1, since: float | None = None) -> Lease:
    now = time.time()
    work = Work("sending", 1, attempts, True, 0.0, now if since is None else since)
    return Lease("a", Row("a", 1, {}, True, now), work, b"", (), True)


def pause(made: Relay, held: Lease, answer: Answer) -> float | None:
    again = made._again(held, answer)
    return None if again is None else again - time.time()


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (5000, 300)])
def test_pauses_double_up_to_the_longest(attempts: int, seconds: float) -> None:
    assert pause(relay(), lease(attempts), Answer(503)) == pytest.approx(seconds, abs=0.5)


def test_chance_cuts_up_to_half() -> None:
    assert pause(relay(dice=0.0), lease(4), Answer(None)) == pytest.approx(4, abs=0.5)


def test_what_the_platform_asks_for_is_the_least() -> None:
    assert pause(relay(), lease(1), Answer(429, wait_s=60)) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("status", [400, 422])
def test_what_is_hopeless_is_not_tried_again(status: int) -> None:
    assert relay()._again(lease(), Answer(status)) is None


def test_what_was_tried_too_long_is_given_up() -> None:
    made = relay(park_after_s=100.0)
    assert made._again(lease(since=time.time() - 101), Answer(503)) is None
    assert made._again(lease(since=time.time() - 90), Answer(503)) is not None


def test_the_gate_closes_after_many_failures_and_opens_at_an_answer() -> None:
    now = [1000.0]
    gate = Gate(30.0, lambda: now[0])
    found = []
    for _ in range(Gate.AFTER + 7):
        gate.saw(Answer(None))
        found.append(gate.closed_s())
    assert found == [0.0] * (Gate.AFTER - 1) + [1, 2, 4, 8, 16, 30, 30, 30]
    now[0] += 30
    assert gate.closed_s() == 0
    gate.saw(Answer(409))
    gate.saw(Answer(503))
    assert gate.closed_s() == 0


def test_an_answer_opens_the_gate_at_once_for_all_who_wait() -> None:
    gate, stop, passed = Gate(3600.0), threading.Event(), []
    for _ in range(Gate.AFTER + 12):
        gate.saw(Answer(None))
    assert gate.closed_s() > 1000
    waiting = [threading.Thread(target=lambda: passed.append(gate.wait(stop))) for _ in range(3)]
    for one in waiting:
        one.start()
    gate.saw(Answer(422))
    for one in waiting:
        one.join(10)
    assert passed == [True, True, True]
    for _ in range(Gate.AFTER + 12):
        gate.saw(Answer(None))
    stop.set()
    assert not gate.wait(stop)


def test_what_fails_for_a_fault_of_ours_is_tried_again_and_parked_in_the_end(tmp_path: Path) -> None:
    class Broken:
        def send(self, message: object, *, is_first: bool, etag: str) -> Answer:
            raise ValueError("a fault")

    store = open_store(f"sqlite:///{tmp_path / 'r.db'}", Settings())
    store.open(Schema({}))
    try:
        told = Told("a", 1, message_of(sas_appointment("a")), True)
        news = list(outbox.news(store, [told]))
        guards = [one for one in news if isinstance(one, RecordGuard)]
        store.commit([], guards, [one for one in news if isinstance(one, Record)])
        made = Relay(store, RelaySettings("http://127.0.0.1:1", park_after_s=1e-9), threading.Event())
        broken: Any = Broken()
        assert not made._send(broken, told.unit, Tally())
        item = listing.item_of(store, told.unit)
        assert item is not None
        assert (item.state, item.error) == ("parked", "ValueError: a fault")
    finally:
        store.close()
