"""Slow clients and `fhirstore serve` with several workers: the others are served, and deadlines end the slow ones."""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tls import TlsProcess, World

HEAD = b"Host: localhost\r\nContent-Type: application/fhir+json\r\n"
BODY = b'{"resourceType":"Basic","code":{"text":"slow"}}'
POST = b"POST /fhir/Basic HTTP/1.1\r\n" + HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)
SLOW = {
    "silent": b"",
    "one byte": b"G",
    "half a head": b"GET /fhir/metadata HTTP/1.1\r\n" + HEAD,
    "half a body": POST + BODY[:20],
    "large answer": b"GET /fhir/metadata HTTP/1.1\r\n" + HEAD + b"\r\n",
    "pipelined": (b"GET /fhir/metadata HTTP/1.1\r\n" + HEAD + b"\r\n") * 20,
}
"""What they send before they fall silent, without reading an answer."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("certificates"))


Start = Callable[..., TlsProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with two workers of two threads each, and with these settings."""
    started = []

    def start(context: ssl.SSLContext | None = None, **settings: Any) -> TlsProcess:
        file = tmp_path / "settings.json"
        file.write_text(json.dumps(settings))
        kind = type("_", (TlsProcess,), {"context": context})
        options = ("--config", str(file), "--log-level", "info")
        server = kind(tmp_path / "store.db", *options, workers=2, threads=2)
        started.append(server)
        give_up = time.monotonic() + 20
        while not (len(found := workers(server)) == 2 and all(map(has_event_loop, found))):
            assert time.monotonic() < give_up
            time.sleep(0.02)
        return server

    yield start
    for process in started:
        process.stop()


def workers(server: TlsProcess) -> set[str]:
    pid = server.process.pid
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def has_event_loop(pid: str) -> bool:
    """False while a worker starts and has the signal handlers of its parent."""
    with contextlib.suppress(OSError):
        return any("eventpoll" in str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def connect(server: TlsProcess) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return client


def is_listening(server: TlsProcess) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", server.port)) == 0


def end(client: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(1 << 16):
            received += data
    return received


def served(server: TlsProcess) -> list[int]:
    """The status of requests on one connection, and of one on another."""
    link = server.connection()
    status = []
    for _ in range(4):
        link.request("GET", "/fhir/metadata")
        answer = link.getresponse()
        answer.read()
        status.append(answer.status)
    link.close()
    return [*status, server.call("POST", "Basic", json.loads(BODY))[0]]


def test_slow_clients_of_all_kinds_stop_nobody(start: Start) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        for data in SLOW.values():
            for _ in range(20):
                stack.enter_context(connect(server)).sendall(data)
        assert served(server) == [200, 200, 200, 200, 201]
        server.process.terminate()


def test_slow_clients_with_certificates_stop_nobody(start: Start, world: World) -> None:
    context = world.context("good")
    server = start(context, **world.settings())
    with contextlib.ExitStack() as stack:
        for data in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"):
            for _ in range(20):
                stack.enter_context(connect(server)).sendall(data)
        for data in SLOW.values():
            for _ in range(10):
                client = context.wrap_socket(connect(server), server_hostname="127.0.0.1")
                stack.enter_context(client).sendall(data)
        assert served(server) == [200, 200, 200, 200, 201]


def test_deadlines_end_slow_clients(start: Start) -> None:
    server = start(head_timeout_s=0.3, body_timeout_s=0.3, keep_alive_s=0.3)
    for kind, expected in (("silent", b""), ("one byte", b"408"), ("half a head", b"408"), ("half a body", b"408")):
        with connect(server) as client:
            client.sendall(SLOW[kind])
            assert expected in end(client).partition(b"\r\n")[0]
    with connect(server) as client:
        client.sendall(SLOW["half a head"])
        with contextlib.suppress(OSError):
            while True:  # one byte after the other, until the server does not take it
                client.sendall(b"X")
                time.sleep(0.02)
    with connect(server) as client:
        client.sendall(SLOW["large answer"])
        assert end(client).startswith(b"HTTP/1.1 200")


def test_a_deadline_ends_unfinished_handshakes(start: Start, world: World) -> None:
    server = start(world.context("good"), tls_handshake_timeout_s=0.3, **world.settings())
    for data in (b"", b"\x16\x03\x01"):
        with connect(server) as client:
            client.sendall(data)
            assert end(client) == b""
    assert served(server) == [200, 200, 200, 200, 201]


def test_malformed_chunks_get_400(start: Start) -> None:
    server = start()
    head = b"POST /fhir/Basic HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for chunks in (b"zz\r\n", b"2\r\n{}x", b"-1\r\n", b"0\r\nbad trailer\r\n\r\n"):
        with connect(server) as client:
            client.sendall(head + chunks)
            answer = end(client)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"OperationOutcome" in answer
    assert "Traceback" not in server.log.read_text()


def test_a_body_in_chunks_above_the_limit_gets_413(start: Start) -> None:
    server = start(max_body_bytes=1000)
    head = b"POST /fhir/Basic HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    with connect(server) as client:
        client.sendall(head + b"800\r\n" + b"x" * 2048 + b"\r\n")
        answer = end(client)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"max_body_bytes" in answer


def test_a_server_that_stops_refuses_connections_and_finishes_requests(start: Start) -> None:
    server = start()
    with connect(server) as half, connect(server) as idle:
        half.sendall(POST + BODY[:20])
        idle.sendall(SLOW["large answer"])
        assert idle.recv(12) == b"HTTP/1.1 200"
        server.process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + 20
        while is_listening(server):
            assert time.monotonic() < give_up
            time.sleep(0.05)  # not so fast that the connections of this client exceed their limit
        assert server.process.poll() is None
        half.sendall(BODY[20:])
        answer = end(half)
        assert answer.startswith(b"HTTP/1.1 201")
        assert b"Connection: close" in answer
    assert server.process.wait(30) == 0


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="resource.prlimit is of Linux")
def test_without_file_descriptors_the_workers_live_and_serve(start: Start) -> None:
    server = start()
    before = workers(server)
    for pid in before:
        used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        limit = used + 20
        resource.prlimit(int(pid), resource.RLIMIT_NOFILE, (limit, limit))
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            with contextlib.suppress(OSError):
                stack.enter_context(connect(server)).sendall(b"G")
        status = set()
        for _ in range(20):
            with contextlib.suppress(OSError, http.client.HTTPException):
                status.add(server.call("GET", "metadata")[0])
        assert 200 in status
    assert workers(server) == before
    log = server.log.read_text()
    assert "Too many open files" in log or "all connections are in use" in log  # one report in ten seconds
    give_up = time.monotonic() + 20
    while served(server) != [200, 200, 200, 200, 201]:  # until it has noticed that the others are gone
        assert time.monotonic() < give_up
