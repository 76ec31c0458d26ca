"""Bounds of connections. A behaving client is served whatever others do."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from support.serving import Worker, get, post, read_all, response, serving

from fhirstore.serving import admission
from fhirstore.serving.connection import State, client_of

GET = get("/a")


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_client_is_an_address_or_a_network(host: str, client: str) -> None:
    assert client_of(host) == client


def is_closed(client: socket.socket) -> bool:
    try:
        return read_all(client) == b""
    except ConnectionResetError:
        return True


def asked(client: socket.socket) -> int:
    client.sendall(GET)
    return response(client)[0]


def test_a_new_connection_takes_the_place_of_the_one_that_has_waited_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_connections=3) as worker:
        clients = []
        for n in (1, 2, 3):
            clients.append(worker.connect())
            clients[-1].sendall(b"G")
            worker.wait_for({State.HEAD: n})
            worker.clock.advance(1)
        with worker.connect() as good:
            assert asked(good) == 200
            assert is_closed(clients[0])
        worker.wait_for({State.HEAD: 2})
        for client in clients[1:]:
            client.sendall(GET[1:])
            assert response(client)[0] == 200
            client.close()


def test_idle_connections_are_closed_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_connections=2) as worker, worker.connect() as half, worker.connect() as idle:
        half.sendall(b"G")
        worker.wait_for({State.HEAD: 1, State.NEW: 1})
        worker.clock.advance(3)
        assert asked(idle) == 200
        worker.wait_for({State.HEAD: 1, State.IDLE: 1})
        worker.clock.advance(2)  # counts four times
        with worker.connect() as good:
            assert asked(good) == 200
            assert is_closed(idle)
        half.sendall(GET[1:])
        assert response(half)[0] == 200


def test_the_client_with_the_most_connections_loses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_connections=5) as worker, worker.connect("127.0.0.9") as first:
        assert asked(first) == 200
        worker.clock.advance(10)
        many = [worker.connect("127.0.0.8") for _ in range(4)]
        worker.wait_for({State.IDLE: 1, State.NEW: 4})
        with worker.connect("127.0.0.7") as good:
            assert asked(good) == 200
        worker.wait_for({State.IDLE: 1, State.NEW: 3})
        assert asked(first) == 200
        for one in many:
            one.close()


def test_one_client_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_client_connections=2) as worker, worker.connect("127.0.0.9") as other:
        assert asked(other) == 200
        slow = [worker.connect() for _ in range(4)]
        worker.wait_for({State.IDLE: 1, State.NEW: 2})
        with worker.connect() as good:
            assert asked(good) == 200
        assert asked(other) == 200
        for one in slow:
            one.close()


def test_trusted_proxies_have_no_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_client_connections=2, trusted_proxies=("127.0.0.8/31",)) as worker:
        clients = [worker.connect("127.0.0.9") for _ in range(4)]
        worker.wait_for({State.NEW: 4})
        for one in clients:
            assert asked(one) == 200
            one.close()


def test_a_request_is_not_given_up_for_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The new connection is refused with 503."""
    answers = os.pipe()

    def app(environ: object, start_response: object) -> Iterator[bytes]:
        os.read(answers[0], 1)
        start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
        yield b"ok"

    with serving(monkeypatch, app, max_connections=1) as worker, worker.connect() as client:
        client.sendall(GET)
        worker.wait_for({State.RUNNING: 1})
        with worker.connect() as another:
            status, head, body = response(another)
            assert (status, b"Retry-After: 1" in head) == (503, True)
            assert json.loads(body)["issue"][0]["code"] == "throttled"
        os.write(answers[1], b"x")
        assert response(client)[2] == b"ok"
    for fd in answers:
        os.close(fd)


def test_the_worker_goes_on_without_file_descriptors(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept, full = socket.socket.accept, [True, False, True, True]

    def accept_when_there_is_room(listener: socket.socket) -> object:
        if full and full.pop():
            raise OSError(24, "Too many open files")
        return accept(listener)

    with worker.connect() as idle:
        assert asked(idle) == 200
        worker.wait_for({State.IDLE: 1})
        monkeypatch.setattr(socket.socket, "accept", accept_when_there_is_room)
        with worker.connect() as good:
            assert is_closed(idle)
            try:
                status = asked(good)
            except (OSError, AssertionError):
                status = 503
            assert status in (200, 503)
        with worker.connect() as good:
            while full:
                pass
        with worker.connect() as good:
            assert asked(good) == 200
    assert "Too many open files" in caplog.text


def test_waiting_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_buffered_bytes=50_000) as worker:
        clients = []
        for n in (1, 2, 2):
            clients.append(worker.connect())
            clients[-1].sendall(post("/a", b"x" * 20_000)[:-1])
            worker.wait_for({State.BODY: n})
            worker.clock.advance(1)
        assert is_closed(clients[0])
        for client in clients[1:]:
            client.sendall(b"x")
            assert response(client)[0] == 200
            client.close()


def test_large_answers_wait_in_temporary_files(monkeypatch: pytest.MonkeyPatch, worker: Worker) -> None:
    monkeypatch.setattr(admission, "UNSENT_BYTES", 1000)
    with worker.connect() as client:
        client.sendall(get("/large/20000000"))
        worker.wait_for({State.SENDING: 1})
        (connection,) = worker.loop._admission
        assert connection.output is not None
        assert connection.output.in_memory == 0
        assert set(response(client)[2]) == {ord("x")}


def test_the_limit_of_open_files_is_raised_if_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [100, 5000]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.__setitem__(0, new[0]))
    assert [admission.allow_files(wanted) for wanted in (50, 1000, 9000)] == [100, 1000, 5000]


def test_a_worker_that_stops_gives_no_connection_up_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, max_connections=1) as worker, worker.connect() as half:
        half.sendall(post("/a", b"body")[:-1])
        worker.wait_for({State.BODY: 1})
        worker.loop._admission.may_replace = False
        with worker.connect() as another:
            assert response(another)[0] == 503
        half.sendall(b"y")
        assert response(half)[0] == 200
