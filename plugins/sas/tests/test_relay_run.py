"""What the handler of the relay makes of responses, and how long a message is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
from support.outbox import Outbox, key, message

from fhirstore.jobs.handler import run_job
from fhirstore.jobs.queue import JobQueue
from fhirstore.model.indexing import Schema
from fhirstore.plugins import Done, Rejected, Retry
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore_sas.relay.run import Sender, outcome_of, relay_handler
from fhirstore_sas.relay.send import PlatformResponse, RelaySettings


def settings(**more: Any) -> RelaySettings:
    return RelaySettings("http://127.0.0.1:1", **more)


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (5000, 300)])
def test_pauses_double_up_to_the_longest(attempts: int, seconds: float) -> None:
    retry = relay_handler(settings()).options.retry
    assert retry.pause_s(attempts, 1.0) == seconds
    assert retry.pause_s(attempts, 0.0) == seconds / 2


def test_the_settings_bound_pauses_and_attempts() -> None:
    options = relay_handler(settings(pause_s=7.0, park_after_s=100.0, timeout_s=5.0)).options
    assert (options.retry.longest_s, options.retry.give_up_after_s, options.lease_s) == (7.0, 100.0, 22.0)


@pytest.mark.parametrize(("in_serve", "expected"), [(True, True), (False, False)])
def test_servers_send_unless_only_the_command_does(in_serve: bool, expected: bool) -> None:
    assert relay_handler(settings(in_serve=in_serve)).in_server is expected
    assert relay_handler(None).in_server is False


def test_a_confirmation_keeps_where_the_appointment_is() -> None:
    response = PlatformResponse(201, "", "https://p/Appointment/1", etag='"1"')
    assert outcome_of(response) == Done({"status": 201, "location": "https://p/Appointment/1", "etag": '"1"'})


def test_the_platform_may_ask_for_a_pause() -> None:
    assert outcome_of(PlatformResponse(429, "429: slow", wait_s=60.0)) == Retry("429: slow", {"status": 429}, 60.0)


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_message_is_not_tried_again(status: int) -> None:
    assert outcome_of(PlatformResponse(status, "no")) == Rejected("no", {"status": status})


@pytest.mark.parametrize(("status", "expected"), [(None, True), (500, True), (503, True), (404, False), (429, False)])
def test_the_breaker_counts_attempts_without_an_answer_of_the_platform(status: int | None, expected: bool) -> None:
    found = outcome_of(PlatformResponse(status, "x"))
    assert isinstance(found, Retry)
    assert found.unavailable is expected


def test_a_fault_of_ours_is_tried_again_and_parked_in_the_end(tmp_path: Path) -> None:
    class Broken:
        def send(self, message: object, *, is_first: bool, etag: str) -> PlatformResponse:
            raise ValueError("a fault")

    store = open_store(f"sqlite:///{tmp_path / 'r.db'}", Settings())
    store.open(Schema({}))
    try:
        clock = Clock()
        outbox = Outbox(store, clock)
        outbox.queue = JobQueue(store, "sas-relay", relay_handler(settings(park_after_s=100.0)).options, clock)
        outbox.enqueue(message("a"))
        sender = Sender(settings(), lambda _: Broken())  # type: ignore[arg-type, return-value]
        handler = relay_handler(settings())
        states = []
        while not states or states[-1] == "waiting":
            run = outbox.claim(key("a"))
            assert run is not None
            states.append(run_job(type(handler)(handler.queue, sender.run), run))
            clock.advance(60)
        assert states == ["waiting", "waiting", "parked"]
        assert (outbox.item(key("a")).state, outbox.item(key("a")).error) == ("parked", "ValueError: a fault")
    finally:
        store.close()


def test_the_http_client_is_opened_once_and_closed(tmp_path: Path) -> None:
    opened: list[bool] = []

    class Platform:
        def send(self, message: object, *, is_first: bool, etag: str) -> PlatformResponse:
            return PlatformResponse(200)

        def close(self) -> None:
            opened.append(False)

    def connect(_: RelaySettings) -> Any:
        opened.append(True)
        return Platform()

    store = open_store(f"sqlite:///{tmp_path / 'r.db'}", Settings())
    store.open(Schema({}))
    outbox, sender = Outbox(store), Sender(settings(), connect)
    for version in (1, 2):
        outbox.enqueue(message("a", version))
        run = outbox.claim(key("a"))
        assert run is not None
        run.store(sender.run(run))
    sender.close()
    sender.close()
    assert opened == [True, False]
    store.close()
