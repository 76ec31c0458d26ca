"""The event loop and the threads of one worker process, in this process, with real sockets and a clock of the test."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from fhirstore.serving import admission, loop, receive
from fhirstore.serving.connection import State
from fhirstore.serving.threads import RequestThreads
from fhirstore.settings import Settings

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
PATIENCE = 30.0


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A JSON object with the method, the path and the body of the request. The path /large/N gives N bytes instead, and
    /parts/N as many bytes in N parts of one byte. A body over 100 000 bytes gives 413, as Flask does."""
    path, body = environ["PATH_INFO"], environ["wsgi.input"].read()
    if len(body) > 100_000 or int(environ.get("CONTENT_LENGTH") or 0) > 100_000:
        start_response("413 Content Too Large", [("Content-Length", "0")])
        return [b""]
    if path.startswith("/large/"):
        data = b"x" * int(path.rpartition("/")[2])
        start_response("200 OK", [("Content-Length", str(len(data)))])
        return [data]
    if path.startswith("/parts/"):
        start_response("200 OK", [])
        return [b"x"] * int(path.rpartition("/")[2])
    if path == "/error":
        raise LookupError("secret")
    data = json.dumps({"method": environ["REQUEST_METHOD"], "path": path, "body": body.decode()}).encode()
    start_response("200 OK", [("Content-Length", str(len(data)))])
    return [data]


class Clock:
    """time.monotonic for the server; `advance` lets time pass."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class Worker:
    def __init__(self, settings: Settings, clock: Clock, app: App, threads: int, tls: ssl.SSLContext | None):
        self.clock = clock
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        cfg = Config()
        cfg.set("threads", threads)
        cfg.set("limit_request_line", 8190)
        if tls is not None:
            cfg.set("certfile", "unused")
            cfg.set("ssl_context", lambda conf, default: tls)
        logger = SimpleNamespace(access=lambda *_: None)
        self.loop = loop.ConnectionLoop(cfg, settings, [self.listener], lambda one: self.threads.run(one))
        self.threads = RequestThreads(app, cfg, logger, self.loop)  # type: ignore[arg-type]
        self._ended = False
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            self.loop.turn(0.02)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        self._ended = True
        self._thread.join()
        self.threads.stop(time.monotonic() + PATIENCE)
        self.loop.close()
        self.listener.close()

    def states(self) -> list[State]:
        return [one.state for one in list(self.loop._admission)]

    def wait_for(self, states: dict[State, int]) -> None:
        """Until the connections of the worker have exactly these states."""
        give_up = time.monotonic() + PATIENCE
        while {state: self.states().count(state) for state in set(self.states())} != states:
            assert time.monotonic() < give_up, self.states()
            time.sleep(0.005)

    def wait_for_body(self, size: int) -> None:
        """Until so many bytes of one body have been received."""
        give_up = time.monotonic() + PATIENCE
        while (found := [one.body.received for one in list(self.loop._admission) if one.body is not None]) != [size]:
            assert time.monotonic() < give_up, found
            time.sleep(0.005)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Connections that are open at the end of the test are closed then."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE, source_address=(source, 0))
        self._clients.append(client)
        return client


def read_all(client: socket.socket) -> bytes:
    """Until the server closes its side."""
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def response(client: socket.socket) -> tuple[int, bytes, bytes]:
    """(status, head, body) of one response with Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(1)
        assert more, f"closed after {data!r}"
        data += more
    head = data.partition(b"\r\n\r\n")[0]
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    body = bytearray()
    while len(body) < length:
        more = client.recv(min(1 << 16, length - len(body)))
        assert more, "closed in the body"
        body += more
    return int(head.split()[1]), head, bytes(body)


def is_silent(client: socket.socket) -> bool:
    """Whether the server has sent nothing and has not closed the connection."""
    return not select.select([client], [], [], 0.05)[0]


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join((f"GET {path} HTTP/{version}", "Host: x", *headers, "", "")).encode()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


@contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch,
    app: App = echo,
    threads: int = 2,
    tls: ssl.SSLContext | None = None,
    **settings: Any,
) -> Iterator[Worker]:
    clock = Clock()
    for module in (loop, receive, admission):
        monkeypatch.setattr(module, "time", clock)
    worker = Worker(Settings(**settings), clock, app, threads, tls)
    try:
        yield worker
    finally:
        worker.stop()
