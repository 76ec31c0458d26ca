"""The outbox on both engines: which message is sent, how, and how operators see it. `tests/jobs` tests its queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mongo import Mongo
from support.outbox import Outbox, key, message

from fhirstore.model.indexing import Schema
from fhirstore.plugins import Done, Rejected, Retry
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore_sas.relay.outbox import OutboxMessage, key_of
from fhirstore_sas.relay.run import Sender
from fhirstore_sas.relay.send import PlatformResponse, RelaySettings
from fhirstore_sas.relay.status import STATES, find_items, list_items, outbox_summary


@pytest.fixture(params=["sqlite", "replica"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outbox]:
    mongo: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue("replica")
    made = open_store(f"sqlite:///{tmp_path / 'o.db'}" if mongo is None else mongo.url(tmp_path), Settings())
    made.open(Schema({}))
    yield Outbox(made)
    made.close()
    if mongo is not None:
        mongo.drop(tmp_path)


class Platform:
    """Notes how messages are sent, and answers as told."""

    def __init__(self, *responses: PlatformResponse) -> None:
        self.sent: list[tuple[str, bool, str]] = []
        self._responses = list(responses)

    def send(self, message: dict[str, object], *, is_first: bool, etag: str = "") -> PlatformResponse:
        self.sent.append((str(message["status"]), is_first, etag))
        return self._responses.pop(0)

    def close(self) -> None:
        self._responses = []


def send(outbox: Outbox, key: str, *responses: PlatformResponse) -> list[tuple[str, bool, str]]:
    """(status, is_first, ETag) of attempts with these responses, one after the other."""
    platform = Platform(*responses)
    sender = Sender(RelaySettings("http://127.0.0.1:1"), lambda _: platform)  # type: ignore[arg-type, return-value]
    for _ in responses:
        run = outbox.claim(key)
        assert run is not None
        run.store(sender.run(run))
        outbox.jobs.replay("sas-relay", key) if outbox.item(key).state != "sent" else None
    return platform.sent


CREATED, OK, BUSY = PlatformResponse(201), PlatformResponse(200), PlatformResponse(503, "503: busy")


def test_a_new_message_waits_and_is_shown_by_its_identifier(outbox: Outbox) -> None:
    [found] = outbox.enqueue(message("a"))
    item = outbox.item(found)
    assert (item.state, item.identifier, item.id, item.version) == ("waiting", "urn:oid:1.2.3.4|a", "a", 1)


def test_a_sent_message_leaves_the_outbox_and_its_location_is_kept(outbox: Outbox) -> None:
    outbox.enqueue(message("a"))
    send(outbox, key("a"), PlatformResponse(201, "", "https://p.example/Appointment/9"))
    item = outbox.item(key("a"))
    assert (item.state, item.status, item.location) == ("sent", 201, "https://p.example/Appointment/9")
    assert list(list_items(outbox.jobs)) == []


def test_the_first_message_of_a_new_appointment_is_posted(outbox: Outbox) -> None:
    outbox.enqueue(message("a"))
    assert send(outbox, key("a"), CREATED) == [("booked", True, "")]


def test_a_message_about_a_known_appointment_is_put(outbox: Outbox) -> None:
    outbox.enqueue(message("a", version=2))
    assert send(outbox, key("a"), OK) == [("booked", False, "")]


def test_after_an_attempt_without_confirmation_the_message_is_put(outbox: Outbox) -> None:
    outbox.enqueue(message("a"))
    no_response = PlatformResponse(None, "ConnectError")
    assert [is_first for _, is_first, _ in send(outbox, key("a"), no_response, BUSY, OK)] == [True, False, False]


def test_the_latest_of_several_versions_is_sent_and_posted_if_none_was_sent_before(outbox: Outbox) -> None:
    for version, status in ((1, "booked"), (2, "booked"), (3, "cancelled")):
        outbox.enqueue(message("a", version, status=status))
    assert send(outbox, key("a"), CREATED) == [("cancelled", True, "")]
    assert outbox.item(key("a")).version == 3
    outbox.enqueue(message("a", 4))
    assert send(outbox, key("a"), OK) == [("booked", False, "")]


def test_a_message_that_is_sent_again_is_put(outbox: Outbox) -> None:
    outbox.enqueue(message("a"))
    outbox.enqueue(message("a", 2, status="cancelled"))
    send(outbox, key("a"), CREATED)
    assert outbox.jobs.replay("sas-relay", key("a"))
    assert send(outbox, key("a"), OK) == [("cancelled", False, "")]


def test_a_discarded_message_makes_the_next_one_a_put(outbox: Outbox) -> None:
    outbox.enqueue(message("a"))
    assert outbox.jobs.discard("sas-relay", key("a"))
    outbox.enqueue(OutboxMessage("a", 2, message("a").message, True))
    assert send(outbox, key("a"), OK) == [("booked", False, "")]


def test_the_etag_of_the_last_response_goes_with_the_next_message(outbox: Outbox) -> None:
    outbox.enqueue(message("a"))
    send(outbox, key("a"), PlatformResponse(201, etag='W/"7"'))
    outbox.enqueue(message("a", 2))
    assert [etag for *_, etag in send(outbox, key("a"), BUSY, OK)] == ['W/"7"', 'W/"7"']
    outbox.enqueue(message("a", 3))
    assert [etag for *_, etag in send(outbox, key("a"), OK)] == [""]  # the last one had none


def test_a_message_about_another_appointment_with_the_identifier_comes_after_the_first(outbox: Outbox) -> None:
    """The first appointment is deleted, another one created with its identifier, while the platform is down."""
    outbox.enqueue(message("a"))
    send(outbox, key("a"), CREATED)
    outbox.enqueue(message("a", 2, status="cancelled"))
    outbox.enqueue(message("a", 1, id="another"))
    assert send(outbox, key("a"), OK) == [("booked", False, "")]
    assert outbox.item(key("a")).id == "another"


@pytest.mark.parametrize(
    ("one", "other"), [(("a|b", "c"), ("a", "b|c")), (("a\\", "|b"), ("a", "\\|b")), (("", "a|b"), ("a", "b"))]
)
def test_two_identifiers_never_have_one_key(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert key_of(one) != key_of(other)


def test_states_are_listed_in_the_order_of_attention(outbox: Outbox) -> None:
    outbox.enqueue(*(message(name) for name in ("waits", "new", "sending", "refused", "sent")))
    outbox.deliver(key("sent"), Done({"status": 201}))
    outbox.deliver(key("refused"), Rejected("422: no", {"status": 422}))
    outbox.deliver(key("waits"), Retry("503: busy", {"status": 503}))
    outbox.claim(key("sending"))
    found = list(list_items(outbox.jobs, STATES))
    assert [(item.id, item.state) for item in found] == [
        ("refused", "parked"), ("sending", "sending"), ("new", "waiting"), ("waits", "waiting"), ("sent", "sent"),
    ]  # fmt: skip
    assert [item.status for item in found] == [422, None, None, 503, 201]
    assert outbox_summary(outbox.jobs).counts == {"waiting": 2, "sending": 1, "parked": 1}
    assert [item.id for item in list_items(outbox.jobs, ("waiting",), 1)] == ["new"]


def test_an_appointment_is_found_by_each_of_its_names(outbox: Outbox) -> None:
    outbox.enqueue(message("1", id="first"), message("2", id="second"))
    outbox.deliver(key("2"), Done({"status": 201}))
    for name, id in (("first", "first"), ("Appointment/first", "first"), ("1", "first"), ("2", "second")):
        assert [item.id for item in find_items(outbox.jobs, name)] == [id]
    assert [item.id for item in find_items(outbox.jobs, "urn:oid:1.2.3.4|2")] == ["second"]
    assert find_items(outbox.jobs, "third") == []
