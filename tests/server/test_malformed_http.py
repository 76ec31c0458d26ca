"""Malformed HTTP over sockets: refused with 4xx and an OperationOutcome, or closed; nothing else suffers.

MALFORMED_REQUESTS in the environment says how many (300, or 5 000 in `make test-deep`).
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.process import Process
from support.sizes import size

REQUESTS = size("MALFORMED_REQUESTS", quick=300, deep=5000)
MEMORY = 32 * 1024 * 1024
"""Bytes by which the server may grow after the first fifth of the requests."""

PATIENT = b'{"resourceType":"Patient","active":true}'
HEAD = b"Host: localhost\r\nContent-Type: application/fhir+json\r\n"
PARTS = [
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"\xff", b"\xc3\xa9", b"HTTP/1.1", b"/", b"%",
    b"x" * 9000, b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"\x16\x03\x01\x02\x00",
    b"a: b\r\n" * 150,
]  # fmt: skip


def post(*headers: bytes, body: bytes = PATIENT) -> bytes:
    return b"POST /fhir/Patient HTTP/1.1\r\n" + HEAD + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


MALFORMED: dict[str, bytes] = {
    "no version": b"GET /fhir/metadata\r\n\r\n",
    "a version of the future": b"GET /fhir/metadata HTTP/9.9\r\nHost: a\r\n\r\n",
    "HTTP/2 without upgrade": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b" /fhir/metadata HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method with control characters": b"G\x01T /fhir/metadata HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
    "a line that is too long": b"GET /fhir/Patient?name=" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "too many headers": b"GET /fhir/metadata HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "a header that is too long": b"GET /fhir/metadata HTTP/1.1\r\nX: " + b"y" * 50_000 + b"\r\n\r\n",
    "a header without a colon": b"GET /fhir/metadata HTTP/1.1\r\nHost\r\n\r\n",
    "a header without a name": b"GET /fhir/metadata HTTP/1.1\r\n: a\r\n\r\n",
    "a name with a space": b"GET /fhir/metadata HTTP/1.1\r\nHost : a\r\n\r\n",
    "NUL in a header": b"GET /fhir/metadata HTTP/1.1\r\nHost: a\0b\r\n\r\n",
    "a continued header": b"GET /fhir/metadata HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 40"),
    "a length that is no number": post(b"Content-Length: five"),
    "a negative length": post(b"Content-Length: -1"),
    "a signed length": post(b"Content-Length: +40"),
    "a length and chunks": post(b"Content-Length: 40", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "a chunk size that is no number": chunked(b"zz\r\n" + PATIENT + b"\r\n0\r\n\r\n"),
    "a negative chunk size": chunked(b"-5\r\n" + PATIENT + b"\r\n0\r\n\r\n"),
    "a chunk that is longer than its size": chunked(b"5\r\n" + PATIENT + b"\r\n0\r\n\r\n"),
    "a chunk size without end": chunked(b"1" * 20_000),
    "chunks twice": post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "an unknown expectation": post(b"Content-Length: 40", b"Expect: the-spanish-inquisition"),
}
INCOMPLETE: dict[str, bytes] = {
    "half a line": b"GET /fhir/meta",
    "half a head": b"GET /fhir/metadata HTTP/1.1\r\nHost:",
    "half a body": post(b"Content-Length: 400"),
    "half a chunk": chunked(b"40\r\n" + PATIENT),
    "no last chunk": chunked(b"28\r\n" + PATIENT + b"\r\n"),
    "nothing": b"",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("malformed") / "store.db", workers=1)
    yield process
    process.stop()


def exchange(server: Process, sent: bytes) -> bytes:
    """Sends the bytes, closes the sending side, and returns what the server sends until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as link:
        received = b""
        try:
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
            while part := link.recv(65536):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


def check(received: bytes) -> int | None:
    """The status of the first response, None if there is none. A refusal is an OperationOutcome."""
    if not received:
        return None
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert status < 500 or (status == 503 and b"Retry-After" in head), received[:500]
    if status >= 400:
        outcome = json.loads(body.partition(b"HTTP/1.1 ")[0])
        assert outcome["resourceType"] == "OperationOutcome"
        assert outcome["issue"][0]["diagnostics"]
    return status


def works(server: Process) -> None:
    assert server.call("GET", "/health/live")[0] == 200


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_request_is_refused_with_an_outcome(server: Process, kind: str) -> None:
    status = check(exchange(server, MALFORMED[kind]))
    assert status is not None
    assert 400 <= status < 500
    works(server)


@pytest.mark.parametrize("kind", INCOMPLETE)
def test_an_incomplete_request_stores_nothing(server: Process, kind: str) -> None:
    before = server.call("GET", "_history?_count=1")[2]["total"]
    status = check(exchange(server, INCOMPLETE[kind]))
    assert status is None or 400 <= status < 500
    assert server.call("GET", "_history?_count=1")[2]["total"] == before


def test_an_unknown_transfer_coding_is_501(server: Process) -> None:
    """https://www.rfc-editor.org/rfc/rfc9112#section-6.1 asks for this status."""
    received = exchange(server, post(b"Transfer-Encoding: brotli", body=b""))
    assert received.startswith(b"HTTP/1.1 501 ")
    assert b"OperationOutcome" in received


def changed(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        [
            text[:at],
            text[:at] + rng.choice(PARTS) + text[at:],
            text[:at] + rng.randbytes(1) + text[at + 1 :],
            text.replace(b"\r\n", rng.choice([b"\n", b"\r", b"\n\r"])),
            text + rng.randbytes(rng.choice([1, 200])),
            rng.randbytes(rng.choice([1, 20, 9000])),
        ]
    )


def test_any_bytes_are_refused_or_answered(server: Process) -> None:
    rng = random.Random(1)
    good = [post(b"Content-Length: %d" % len(PATIENT)), b"GET /fhir/Patient?_count=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    results: Counter[int | None] = Counter()
    before = 0
    for number in range(REQUESTS):
        sent = rng.choice(good)
        for _ in range(rng.choice([1, 1, 2, 3])):
            sent = changed(sent, rng)
        try:
            status = check(exchange(server, sent))
        except Exception as problem:
            raise AssertionError(f"request {number}: {problem!r}\n{sent[:2000]!r}") from problem
        if status != 501:
            results[status] += 1
        if number == REQUESTS // 5:
            before = memory(server)
    works(server)
    assert memory(server) - before < MEMORY
    assert {None, 200, 400} <= results.keys(), results


def memory(server: Process) -> int:
    """The resident memory of the server and its workers, in bytes."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (str(server.process.pid), *children)]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")
