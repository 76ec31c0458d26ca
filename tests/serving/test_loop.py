"""The event loop with real sockets. Time passes when a test says so; what it waits for are states of connections."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from support.serving import Worker, get, is_silent, post, read_all, response, serving
from support.tls import World

from fhirstore.serving.connection import State
from fhirstore.settings import Settings
from fhirstore.tls.context import make_context

GET = get("/a")


def answer(client: socket.socket) -> dict[str, Any]:
    status, _, body = response(client)
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


# --- HTTP


def test_one_connection_serves_many_requests(worker: Worker) -> None:
    with worker.connect() as client:
        for path in ("/a", "/b", "/c"):
            client.sendall(get(path))
            assert answer(client)["path"] == path
        worker.wait_for({State.IDLE: 1})


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_request_may_arrive_in_any_pieces(worker: Worker, size: int) -> None:
    data = post("/a", b"body")
    with worker.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), size):
            client.sendall(data[start : start + size])
        assert answer(client) == {"method": "POST", "path": "/a", "body": "body"}


def test_pipelined_requests_are_answered_in_order(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(get("/a") + post("/b", b"1") + get("/large/300000") + get("/c"))
        assert [answer(client)["path"] for _ in range(2)] == ["/a", "/b"]
        assert len(response(client)[2]) == 300_000
        assert answer(client)["path"] == "/c"
        worker.wait_for({State.IDLE: 1})


def test_a_client_that_has_closed_its_side_gets_all_answers(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(get("/a") + get("/b"))
        client.shutdown(socket.SHUT_WR)
        assert [answer(client)["path"] for _ in range(2)] == ["/a", "/b"]
        assert read_all(client) == b""
    worker.wait_for({})


@pytest.mark.parametrize(
    ("request_bytes", "stays_open"),
    [
        (get("/a"), True),
        (get("/a", "Connection: close"), False),
        (get("/a", version="1.0"), False),
        (get("/a", "Connection: keep-alive", version="1.0"), True),
    ],
)
def test_the_version_and_the_header_decide_whether_a_connection_stays_open(
    worker: Worker, request_bytes: bytes, stays_open: bool
) -> None:
    with worker.connect() as client:
        client.sendall(request_bytes)
        _, head, _ = response(client)
        assert (b"Connection: keep-alive" in head) is stays_open
        if stays_open:
            client.sendall(get("/b"))
            assert answer(client)["path"] == "/b"
        else:
            assert read_all(client) == b""


def test_a_response_to_head_has_no_body(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(b"HEAD /large/1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert b"Content-Length: 1000" in head
        assert body == b""


def test_a_response_without_a_length_is_chunked_or_ends_the_connection(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(get("/parts/3", "Connection: close"))
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert body == b"1\r\nx\r\n" * 3 + b"0\r\n\r\n"
    with worker.connect() as client:
        client.sendall(get("/parts/3", "Connection: keep-alive", version="1.0"))
        head, _, body = read_all(client).partition(b"\r\n\r\n")
        assert (b"chunked" in head, body) == (False, b"xxx")


def test_a_chunked_body_is_decoded(worker: Worker) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with worker.connect() as client:
        client.sendall(head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n" + get("/b"))
        assert [answer(client)["body"], answer(client)["path"]] == ["abc", "/b"]


def test_a_client_is_asked_to_continue(worker: Worker) -> None:
    with worker.connect() as client:
        request = post("/a", b"body", "Expect: 100-continue")
        client.sendall(request[:-4])
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(request[-4:])
        assert answer(client)["body"] == "body"
        client.sendall(request)  # without waiting: it is not asked
        assert answer(client)["body"] == "body"


def test_a_client_is_not_asked_to_continue_with_a_body_that_is_too_large(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\nExpect: 100-continue\r\n\r\n")
        assert response(client)[0] == 413
        assert read_all(client) == b""


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 300000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n493e0\r\n"],
    ids=["length", "chunked"],
)
def test_the_response_to_a_body_that_is_too_large_reaches_a_client_that_still_sends(
    worker: Worker, head: bytes
) -> None:
    with worker.connect() as client:
        client.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\n" + head + b"x" * 300_000)
        assert response(client)[0] == 413
        assert read_all(client) == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\0\1\2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (get("/a", "Bad Name: 1"), 400),
        (get("/a", " folded: 1"), 400),
        (get("/a", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (get("/a", "Content-Length: 1", "Content-Length: 2"), 400),
        (get("/a", "Content-Length: +1"), 400),
        (get("/a", "Transfer-Encoding: chunked, chunked"), 400),
        (get("/a", "Transfer-Encoding: xchunked"), 501),
        (get("/a", "Transfer-Encoding: chunked", version="1.0"), 400),
        (get("/a", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (get("/a", "Transfer-Encoding: chunked") + b"1\r\nabc\r\n", 400),
        (get("/a", "Expect: a miracle"), 417),
        (get("/" + "x" * 9000), 414),
        (b"GET /" + b"x" * 9000, 414),
        (get("/a", "X: " + "x" * 9000), 431),
        (get("/a", *["X: " + "x" * 8000] * 9), 431),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 70_000, 431),
    ],
)  # fmt: skip
def test_a_malformed_request_gets_an_operation_outcome_and_ends_the_connection(
    worker: Worker, request_bytes: bytes, status: int
) -> None:
    with worker.connect() as client:
        client.sendall(request_bytes)
        found, _, body = response(client)
        assert found == status
        assert json.loads(body)["resourceType"] == "OperationOutcome"
        assert read_all(client) == b""


def test_an_error_of_the_application_is_an_operation_outcome_without_its_text(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    with worker.connect() as client:
        client.sendall(get("/error"))
        status, _, body = response(client)
        assert (status, json.loads(body)["resourceType"]) == (500, "OperationOutcome")
        assert b"secret" not in body
    assert "LookupError" in caplog.text


def test_a_body_shorter_than_its_content_length_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        return [b"short"]

    with serving(monkeypatch, app) as worker, worker.connect() as client:
        client.sendall(get("/a") + get("/b"))
        assert read_all(client).count(b"200 OK") == 1


# --- clients that are slow


SLOW = {
    "silent": b"",
    "one byte": b"G",
    "half a head": get("/a")[:-2],
    "half a body": post("/a", b"body")[:-1],
    "half a chunk": get("/a", "Transfer-Encoding: chunked") + b"5\r\nab",
    "no answer read": get("/large/20000000"),
}
STATES = {"silent": State.NEW, "half a body": State.BODY, "half a chunk": State.BODY, "no answer read": State.SENDING}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_clients_occupy_no_thread(worker: Worker, kind: str) -> None:
    """Ten of them and two threads."""
    clients = [worker.connect() for _ in range(10)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(SLOW[kind])
    worker.wait_for({STATES.get(kind, State.HEAD): 10})
    with worker.connect() as good:
        for _ in range(3):
            good.sendall(GET)
            assert answer(good)["path"] == "/a"
    for client in clients:
        client.close()
    worker.wait_for({})


def drip(worker: Worker, client: socket.socket, data: bytes, seconds: float) -> None:
    """Sends byte by byte, and lets so much time pass before each."""
    for n in range(len(data)):
        worker.clock.advance(seconds)
        client.sendall(data[n : n + 1])


@pytest.mark.parametrize(
    ("kind", "seconds", "setting"),
    [
        ("one byte", 16, "head_timeout_s"),
        ("half a head", 16, "head_timeout_s"),
        ("half a body", 31, "body_timeout_s"),
        ("half a chunk", 31, "body_timeout_s"),
    ],
)
def test_an_incomplete_request_gets_408(worker: Worker, kind: str, seconds: float, setting: str) -> None:
    with worker.connect() as client:
        client.sendall(SLOW[kind])
        worker.wait_for({STATES.get(kind, State.HEAD): 1})
        worker.clock.advance(seconds - 3)
        assert is_silent(client)
        worker.clock.advance(6)
        status, _, body = response(client)
        assert (status, setting in json.loads(body)["issue"][0]["diagnostics"]) == (408, True)
        assert read_all(client) == b""


def test_bytes_that_keep_coming_do_not_move_the_deadline_of_a_head(worker: Worker) -> None:
    with worker.connect() as client:
        drip(worker, client, b"GET / HTTP/1.1\r\n", 0.9)
        worker.clock.advance(3)
        assert response(client)[0] == 408


def test_a_body_may_take_longer_if_it_arrives_at_the_minimum_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, min_transfer_rate=10) as worker, worker.connect() as client:
        client.sendall(post("/a", b"x" * 2000)[:-2000])
        for n in range(1, 20):
            client.sendall(b"x" * 100)
            worker.wait_for_body(100 * n)
            worker.clock.advance(9)
        assert is_silent(client)
        client.sendall(b"x" * 100)
        assert answer(client)["body"] == "x" * 2000


def test_a_body_below_the_minimum_rate_gets_408(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, min_transfer_rate=10) as worker, worker.connect() as client:
        client.sendall(post("/a", b"x" * 2000)[:-1900])
        worker.wait_for_body(100)
        worker.clock.advance(25)
        client.sendall(b"x")
        worker.wait_for_body(101)
        worker.clock.advance(13)
        assert is_silent(client)
        worker.clock.advance(5)
        assert response(client)[0] == 408


def test_a_body_that_stops_gets_408_however_fast_it_began(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(post("/a", b"x" * 99_000)[:-1])
        worker.wait_for_body(98_999)
        worker.clock.advance(33)
        assert response(client)[0] == 408


def test_a_silent_connection_is_closed(worker: Worker) -> None:
    with worker.connect() as client:
        worker.wait_for({State.NEW: 1})
        worker.clock.advance(16)
        assert read_all(client) == b""
    worker.wait_for({})


def test_an_idle_connection_is_closed_later(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(GET)
        answer(client)
        worker.wait_for({State.IDLE: 1})
        worker.clock.advance(70)
        client.sendall(GET)
        answer(client)
        worker.wait_for({State.IDLE: 1})
        worker.clock.advance(76)
        assert read_all(client) == b""


def test_a_client_that_does_not_take_its_answer_is_cut_off(worker: Worker) -> None:
    with worker.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(SLOW["no answer read"])
        worker.wait_for({State.SENDING: 1})
        worker.clock.advance(31)
        worker.wait_for({})


def test_an_answer_is_sent_as_slowly_as_the_client_takes_it(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(get("/large/20000000"))
        worker.wait_for({State.SENDING: 1})
        assert len(response(client)[2]) == 20_000_000
        worker.wait_for({State.IDLE: 1})
        client.sendall(GET)
        assert answer(client)["path"] == "/a"


def test_a_client_that_leaves_is_forgotten(worker: Worker) -> None:
    for data in SLOW.values():
        client = worker.connect()
        client.sendall(data)
        client.close()
    worker.wait_for({})


def test_a_client_that_does_not_close_is_closed(worker: Worker) -> None:
    with worker.connect() as client:
        client.sendall(get("/a", "Connection: close"))
        answer(client)
        worker.wait_for({State.CLOSING: 1})
        worker.clock.advance(3)
        worker.wait_for({})


def test_an_error_in_one_connection_leaves_the_others(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = worker.loop._advance

    def fails(connection: Any, added: bytes) -> None:
        if added == b"bad":
            raise LookupError
        advance(connection, added)

    monkeypatch.setattr(worker.loop, "_advance", fails)
    with worker.connect() as bad, worker.connect() as good:
        bad.sendall(b"bad")
        assert read_all(bad) == b""
        good.sendall(GET)
        assert answer(good)["path"] == "/a"


# --- stopping


def test_a_worker_that_stops_finishes_requests_and_closes_connections(worker: Worker) -> None:
    with worker.connect() as idle, worker.connect() as half, worker.connect() as silent, worker.connect() as large:
        idle.sendall(GET)
        answer(idle)
        half.sendall(SLOW["half a body"])
        large.sendall(SLOW["no answer read"])
        worker.wait_for({State.IDLE: 1, State.BODY: 1, State.NEW: 1, State.SENDING: 1})
        worker.loop._call(lambda _: worker.loop.stop_accepting(), None)  # type: ignore[arg-type]
        half.sendall(b"y")
        _, head, _ = response(half)
        assert b"Connection: close" in head
        with pytest.raises(ConnectionRefusedError):
            worker.connect()
        worker.clock.advance(3)
        assert read_all(idle) == read_all(silent) == b""
        assert len(response(large)[2]) == 20_000_000
    worker.wait_for({})


# --- TLS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("certificates"))


def subject(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/large":
        start_response("200 OK", [("Content-Length", "20000000")])
        return [b"x" * 20_000_000]
    certificate = environ["gunicorn.socket"].getpeercert()
    names = [value for entry in certificate["subject"] for key, value in entry if key == "commonName"]
    data = json.dumps({"name": names, "scheme": environ["wsgi.url_scheme"]}).encode()
    start_response("200 OK", [("Content-Length", str(len(data)))])
    return [data]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_slow_clients_with_certificates_occupy_no_thread(
    world: World, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    context, client_context = make_context(Settings(**world.settings())), world.context("good", version)

    def connected() -> ssl.SSLSocket:
        return client_context.wrap_socket(worker.connect(), server_hostname="127.0.0.1")

    with serving(monkeypatch, subject, tls=context) as worker:
        slow = [worker.connect() for _ in range(4)]
        for one in slow[2:]:
            one.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        slow += [connected() for _ in range(8)]
        for one in slow[6:8]:
            one.sendall(b"GET / HT")
        for one in slow[8:]:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(get("/large"))
        worker.wait_for({State.HANDSHAKE: 4, State.NEW: 2, State.HEAD: 2, State.SENDING: 4})
        with connected() as good:
            for _ in range(3):
                good.sendall(GET)
                assert answer(good) == {"name": ["sas.example"], "scheme": "https"}
            good.sendall(get("/large"))
            assert len(response(good)[2]) == 20_000_000
        worker.clock.advance(11)
        for one in slow[:4]:
            with contextlib.suppress(ConnectionResetError):
                assert read_all(one) == b""
        worker.clock.advance(25)
        assert response(slow[6])[0] == 408
        worker.wait_for({State.CLOSING: 2})
        worker.clock.advance(3)
        worker.wait_for({})
        for one in slow:
            one.close()


def test_a_large_body_arrives_over_tls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context(Settings(**world.settings()))
    with serving(monkeypatch, tls=context) as worker:
        client = world.context("good").wrap_socket(worker.connect(), server_hostname="127.0.0.1")
        with client:
            client.sendall(post("/a", b"x" * 90_000) + get("/b"))
            assert answer(client)["body"] == "x" * 90_000
            assert answer(client)["path"] == "/b"
            client.sendall(post("/a", b"x" * 3_000_000))
            assert response(client)[0] == 413


def test_a_client_that_leaves_during_the_handshake_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, tls=make_context(Settings(**world.settings()))) as worker:
        for data in (b"", b"\x16\x03\x01"):
            client = worker.connect()
            client.sendall(data)
            client.close()
        worker.wait_for({})


def test_an_unfinished_handshake_times_out(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO")
    with serving(monkeypatch, tls=make_context(Settings(**world.settings()))) as worker, worker.connect() as client:
        client.sendall(b"\x16\x03\x01")
        worker.wait_for({State.HANDSHAKE: 1})
        worker.clock.advance(11)
        worker.wait_for({})
    assert "HANDSHAKE" in caplog.text
