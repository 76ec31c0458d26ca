"""A small HTTP/1.1 client on a socket that stays open: it costs little, so that what is measured is the server."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import NamedTuple, Self


class Reply(NamedTuple):
    """headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    def __init__(self, host: str, port: int):
        self._socket = socket.create_connection((host, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = (
            f" HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: application/fhir+json\r\nAccept-Encoding: identity\r\n"
        )

    def call(self, method: str, url: str, body: bytes = b"") -> Reply:
        """url: path and query. The reply is complete when this returns."""
        head = f"{method} {url}{self._head}"
        if body:
            head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + body)
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        lines = received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        wanted = end + 4 + int(headers["content-length"])
        while len(received) < wanted:
            received += self._more()
        return Reply(int(lines[0].split(" ")[1]), headers, bytes(received[end + 4 : wanted]))

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
