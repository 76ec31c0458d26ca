"""The benchmark's client: the standard library's, on one connection that stays open, with Nagle's delay off."""

from __future__ import annotations

import http.client
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
        self._connection = http.client.HTTPConnection(host, port, timeout=60)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, url: str, body: bytes = b"") -> Reply:
        """url: path and query. The reply is complete when this returns."""
        headers = {"Accept": "application/fhir+json", "Accept-Encoding": "identity"}
        if body:
            headers["Content-Type"] = "application/fhir+json"
        self._connection.request(method, url, body or None, headers)
        answer = self._connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
