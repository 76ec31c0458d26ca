"""From an appointment in our store to the platform, with real processes and real TLS, on both engines."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bookings import EDITOR, national, sas_appointment, slot
from support.cli import fhirstore
from support.process import Process
from support.relay_certificates import Certificates
from support.sas_platform import Platform, identifier, relay_config
from support.sizes import size

SERVE = ("--plugin", "sas", "--capability", "sas-editor")


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store for the tests of this module."""
    folder = tmp_path_factory.mktemp("store")
    url: str = request.getfixturevalue("replica").url(folder) if request.param == "mongodb" else ""
    return url or f"sqlite:///{folder / 'relay.db'}"


@pytest.fixture(scope="module")
def platform(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform that the servers on this store send to."""
    yield from running(tmp_path_factory.mktemp("platform"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One for tests with a server of their own."""
    yield from running(tmp_path_factory.mktemp("alone"))


def running(folder: Path) -> Iterator[Platform]:
    made = Platform(Certificates.make(folder).folder)
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def config(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(relay_config(tmp_path_factory.mktemp("config") / "fhirstore.json", platform))


@pytest.fixture(scope="module")
def servers(store: str, config: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    """Two on one store, as two machines would be."""
    folder = tmp_path_factory.mktemp("servers")
    made = [Process(store, *SERVE, "--config", config, workers=2, log=folder / f"{n}.log") for n in range(2)]
    yield made
    for server in made:
        server.stop()


@pytest.fixture
def server(servers: list[Process]) -> Process:
    return servers[0]


def eventually(what: Callable[[], bool], seconds: float = 60) -> None:
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.05)


def taken(platform: Platform, prefix: str) -> list[tuple[str, str, int]]:
    """(method, value, priority) of what the platform took in, of identifiers that begin so."""
    found = [
        (one["method"], identifier(one["body"]).removeprefix(f"{EDITOR}|"), one["body"]) for one in platform.taken()
    ]
    return [(method, value, body["priority"]) for method, value, body in found if value.startswith(prefix)]


def put(server: Process, id: str, **more: Any) -> None:
    status, _, answer = server.call("PUT", f"Appointment/{id}", sas_appointment(id, id=id, **more))
    assert status in (200, 201), answer


def outbox(store: str, config: str, *arguments: str) -> str:
    done = fhirstore("sas", "outbox", *arguments, "--store", store, "--config", config)
    assert done.exit_code == 0, done.output
    return done.stdout


def listed(store: str, config: str, *arguments: str) -> dict[str, dict[str, Any]]:
    lines = outbox(store, config, "list", "--format", "json", *arguments).splitlines()
    return {one["appointment"].partition("/")[2]: one for one in map(json.loads, lines)}


def metric(server: Process, name: str) -> float:
    return next(float(line.split()[-1]) for line in server.text("/metrics").splitlines() if line.startswith(name))


def test_a_creation_is_posted_and_a_change_is_put(server: Process, platform: Platform, store: str, config: str) -> None:
    put(server, "first", priority=1)
    eventually(lambda: taken(platform, "first") == [("POST", "first", 1)])
    put(server, "first", priority=2, status="cancelled")
    eventually(lambda: taken(platform, "first")[1:] == [("PUT", "first", 2)])
    eventually(lambda: listed(store, config, "--state", "sent").get("first", {}).get("version") == 2)
    sent = listed(store, config, "--state", "sent")["first"]
    assert (sent["state"], sent["answer"], sent["error"]) == ("sent", 200, None)
    assert sent["location"].startswith("https://platform.example/fhir/Appointment/")


def rpps(n: int) -> str:
    return f"8{10_000_000_000 + n}"


def agendas(count: int) -> Iterator[dict[str, Any]]:
    """Practitioners, each with a role, a schedule and a free slot for each of his appointments."""
    for n in range(count):
        refs = [{"reference": f"Practitioner/ref-{n}"}, {"reference": f"PractitionerRole/ref-{n}"}]
        yield {"resourceType": "Practitioner", "id": f"ref-{n}", "identifier": [national(rpps(n))["identifier"]]}
        yield {"resourceType": "PractitionerRole", "id": f"ref-{n}", "practitioner": refs[0]}
        yield {"resourceType": "Schedule", "id": f"ref-{n}", "actor": refs}


def by_reference(n: int, people: int) -> dict[str, Any]:
    """The appointment ref-N with practitioner N, who is named in one of four ways."""
    who = n % people
    own: dict[str, Any] = {"resourceType": "PractitionerRole", "id": "r"}
    own["practitioner"] = {"reference": f"Practitioner/ref-{who}"}
    actors = (f"Practitioner/ref-{who}", f"PractitionerRole/ref-{who}", "#r", "Patient/1")
    way = n // people % len(actors)
    more: dict[str, Any] = {"participant": [{"actor": {"reference": actors[way]}, "status": "accepted"}]}
    if actors[way] == "#r":
        more["contained"] = [own]
    if actors[way] == "Patient/1":
        more["slot"] = [{"reference": f"Slot/ref-{n}"}]
    return sas_appointment(f"ref-{n}", id=f"ref-{n}", **more)


def test_appointments_with_local_references_arrive_with_their_practitioners(
    servers: list[Process], platform: Platform
) -> None:
    count, people = size("RELAYED_REFERENCES", 40, 1000), 10
    written = [
        *agendas(people),
        *(slot(f"ref-{n}") | {"schedule": {"reference": f"Schedule/ref-{n % people}"}} for n in range(count)),
        *(by_reference(n, people) for n in range(count)),
    ]
    for at in range(0, len(written), 50):
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
            for one in written[at : at + 50]
        ]
        status, _, answer = servers[at // 50 % 2].call(
            "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        )
        assert status == 200, answer

    def arrived() -> dict[str, list[dict[str, Any]]]:
        found = {identifier(one["body"]).removeprefix(f"{EDITOR}|"): one["body"] for one in platform.taken()}
        return {value: body["participant"] for value, body in found.items() if value.startswith("ref-")}

    eventually(lambda: len(arrived()) == count, seconds=60 + count)
    assert arrived() == {
        f"ref-{n}": [{"actor": national(rpps(n % people)), "status": "accepted"}] for n in range(count)
    }


def test_two_servers_send_each_appointment_once(servers: list[Process], platform: Platform) -> None:
    for n in range(20):
        put(servers[n % 2], f"once-{n}", priority=1)
    eventually(lambda: len(taken(platform, "once-")) >= 20)
    eventually(lambda: metric(servers[0], 'fhirstore_sas_outbox_appointments{state="sending"}') == 0)
    sent = [metric(one, "fhirstore_sas_relay_sent_total") for one in servers]
    assert sent == [len(platform.taken())] * 2
    assert metric(servers[1], "fhirstore_sas_relay_last_sent_timestamp_seconds") > 0
    assert Counter(value for _, value, _ in taken(platform, "once-")) == {f"once-{n}": 1 for n in range(20)}


def test_what_is_refused_for_good_is_parked_shown_and_mended(
    servers: list[Process], platform: Platform, store: str, config: str
) -> None:
    server = servers[0]
    put(server, "bad", priority=422)
    eventually(lambda: "bad" in listed(store, config, "--state", "parked"))
    parked = listed(store, config, "--state", "parked")["bad"]
    assert (parked["attempts"], parked["answer"], parked["error"]) == (1, 422, "422: fault 422")
    for one in servers:  # whoever is asked says the same
        assert metric(one, 'fhirstore_sas_outbox_appointments{state="parked"}') == 1
        assert "422: fault 422" in one.text("/sas/outbox")
        assert "<h1>Rendez-vous pour la plateforme</h1>" in one.text("/sas/outbox", {"Accept-Language": "fr-FR, en"})
    status, _, ready = server.call("GET", "/health/ready")
    assert (status, ready["issue"][0]["severity"]) == (200, "warning")
    put(server, "bad", priority=1)
    eventually(lambda: taken(platform, "bad") == [("PUT", "bad", 1)])
    eventually(lambda: metric(server, 'fhirstore_sas_outbox_appointments{state="parked"}') == 0)


def test_parked_ones_are_replayed_or_discarded(server: Process, platform: Platform, store: str, config: str) -> None:
    for id in ("again", "never"):
        put(server, id, priority=422)
    eventually(lambda: len(listed(store, config, "--state", "parked")) == 2)
    assert "will not be sent" in outbox(store, config, "discard", "never")
    shown = json.loads(outbox(store, config, "show", f"{EDITOR}|again"))
    assert (shown["state"], shown["message"]["priority"]) == ("parked", 422)
    platform.kill()
    platform.start(faults=-1)
    try:
        assert "will be sent" in outbox(store, config, "replay", "--parked")
        eventually(lambda: taken(platform, "again") == [("PUT", "again", 422)])
        assert "will be sent" in outbox(store, config, "replay", "Appointment/again")  # it was sent, and is once more
        eventually(lambda: len(taken(platform, "again")) == 2)
    finally:
        platform.kill()
        platform.start()
    assert taken(platform, "never") == []
    assert "never" not in listed(store, config)


def test_a_platform_that_is_down_is_waited_for(server: Process, platform: Platform, store: str, config: str) -> None:
    platform.kill()
    try:
        put(server, "down", priority=1)
        eventually(lambda: listed(store, config).get("down", {}).get("attempts", 0) >= 2)
        waiting = listed(store, config)["down"]
        assert (waiting["state"], waiting["answer"]) in (("waiting", None), ("sending", None))
        assert "ConnectError" in waiting["error"]
        assert metric(server, "fhirstore_sas_outbox_oldest_seconds") > 0
    finally:
        platform.start()
    eventually(lambda: taken(platform, "down") == [("PUT", "down", 1)])


def test_what_is_tried_too_long_is_parked(alone: Platform, tmp_path: Path) -> None:
    config = str(relay_config(tmp_path / "c.json", alone, relay_park_after=0.5))
    store = f"sqlite:///{tmp_path / 'park.db'}"
    server = Process(store, *SERVE, "--config", config, workers=1, log=tmp_path / "log")
    try:
        put(server, "late", priority=503)
        eventually(lambda: "late" in listed(store, config, "--state", "parked"))
        assert listed(store, config)["late"]["attempts"] > 1
    finally:
        server.stop()


def test_the_relay_as_a_process_of_its_own(alone: Platform, tmp_path: Path) -> None:
    config = str(relay_config(tmp_path / "c.json", alone, relay_in="command"))
    store = f"sqlite:///{tmp_path / 'own.db'}"
    server = Process(store, *SERVE, "--config", config, workers=1, log=tmp_path / "log")
    try:
        put(server, "own", priority=1)
        command = [sys.executable, "-m", "fhirstore", "sas", "relay", "--store", store, "--config", config]
        with (tmp_path / "relay.log").open("wb") as log:
            relay = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(lambda: taken(alone, "own") == [("POST", "own", 1)])
        eventually(lambda: listed(store, config) == {})
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(30) == 0, (tmp_path / "relay.log").read_text()
        assert listed(store, config, "--state", "sent")["own"]["attempts"] == 1
    finally:
        server.stop()


def test_a_platform_that_never_answers_does_not_keep_the_server_from_ending(alone: Platform, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/fhir"
        config = str(relay_config(tmp_path / "c.json", alone, relay_url=url, relay_timeout=600))
        store = f"sqlite:///{tmp_path / 'silent.db'}"
        server = Process(store, *SERVE, "--config", config, workers=1, log=tmp_path / "log")
        try:
            put(server, "silent", priority=1)
            eventually(lambda: listed(store, config)["silent"]["state"] == "sending")
        finally:
            server.stop()
    assert server.process.returncode == 0  # not killed


def test_what_is_not_there_is_named(tmp_path: Path, alone: Platform) -> None:
    config = str(relay_config(tmp_path / "c.json", alone))
    done = fhirstore("sas", "outbox", "list", "--store", f"sqlite:///{tmp_path / 'no.db'}", "--config", config)
    assert (done.exit_code, "no store at" in done.stderr) == (2, True)
    assert not (tmp_path / "no.db").exists()
