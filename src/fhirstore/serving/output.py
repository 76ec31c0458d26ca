"""The bytes of a response on their way to the client."""

from __future__ import annotations

import os
import ssl
from collections import deque
from tempfile import TemporaryFile
from typing import IO, Any

from gunicorn.http.wsgi import Response

_JOIN_BYTES = 64 * 1024
"""Smaller responses are sent with one call."""
_PART_BYTES = 256 * 1024
_TLS_BYTES = 128 * 1024
"""Bytes of one call to OpenSSL, which reports no progress before all of them are sent."""
STREAMED_BYTES = 1024 * 1024
"""Bytes of a response in several parts that are kept in memory. The rest is in a temporary file."""

NOT_NOW = (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
"""What a socket raises that cannot be used at the moment."""


class Output:
    """A queue of bytes. size: the number of bytes in it."""

    def __init__(self, data: bytes = b""):
        self.size = 0
        self._parts: deque[memoryview] = deque()
        self._file: IO[bytes] | None = None
        if data:
            self.add(data)

    def add(self, data: bytes) -> None:
        if self._file is None and self.size > STREAMED_BYTES:
            self.spill()
        self.size += len(data)
        if self._file is not None:
            self._append(self._file, data)
        else:
            self._parts.append(memoryview(data))

    @property
    def in_memory(self) -> int:
        return self.size if self._file is None else 0

    def spill(self) -> None:
        """Moves the bytes to a temporary file. Raises OSError, and then they stay in memory."""
        if self._file is not None:
            return
        file = TemporaryFile()  # noqa: SIM115 (closed by close)
        parts = self._parts.copy()
        first = parts.popleft()
        # OpenSSL may be about to send the first bytes, and has to get them again.
        for part in (first[_TLS_BYTES:], *parts):
            file.write(part)
        file.seek(0)
        self._file = file
        self._parts = deque((first[:_TLS_BYTES],))

    def _append(self, file: IO[bytes], data: bytes) -> None:
        position = file.tell()
        file.seek(0, os.SEEK_END)
        file.write(data)
        file.seek(position)

    def send(self, sock: Any, limit: int | None = None) -> int:
        """Sends what the socket takes without blocking; returns the number of bytes. Raises OSError.

        limit: return when so many bytes are sent.
        """
        if self.size <= _JOIN_BYTES and len(self._parts) > 1:
            self._parts = deque((memoryview(b"".join(self._parts)),))
        sent, at_once = 0, _TLS_BYTES if isinstance(sock, ssl.SSLSocket) else self.size
        try:
            while self.size and (limit is None or sent < limit):
                part = self._next_part()
                count = sock.send(part[:at_once])
                sent += count
                self.size -= count
                if count == len(part):
                    self._parts.popleft()
                else:
                    self._parts[0] = part[count:]
        except NOT_NOW:
            pass
        return sent

    def _next_part(self) -> memoryview:
        if not self._parts and self._file is not None:
            self._parts.append(memoryview(self._file.read(_PART_BYTES)))
        return self._parts[0]

    def close(self) -> None:
        self._parts.clear()
        if self._file is not None:
            self._file.close()


class QueuedResponse(Response):  # type: ignore[misc]
    """A response of gunicorn that goes to an Output instead of a socket."""

    def __init__(self, request: Any, sock: Any, cfg: Any, output: Output):
        super().__init__(request, sock, cfg)
        self._output = output
        self.headers_sent: bool

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
        self._output.add("".join(lines).encode("latin-1"))
        self.headers_sent = True

    def _emit_body(self, data: bytes) -> None:
        self._output.add(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def sendfile(self, respiter: Any) -> bool:
        return False

    def close(self) -> None:
        self.send_headers()
        if self.chunked:
            self._output.add(b"0\r\n\r\n")

    @property
    def is_short(self) -> bool:
        """Whether the body has fewer bytes than Content-Length says. The connection then has to be closed."""
        return self.response_length is not None and not self._omits_body and self.sent < self.response_length
