"""The event loop with real sockets. Time passes when a test says so; what it waits for are states of connections."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from support.serving import Worker, answer, get, post, read_all, response, serving

from fhirstore.serving.connection import State

GET = get("/a")


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
