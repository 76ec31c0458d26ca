"""Parses the head of a request, as soon as it is complete, with the parser of gunicorn."""

from __future__ import annotations

from typing import Any

from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

Address = tuple[Any, ...]
"""An address as the module socket gives it: (host, port) or (host, port, flow, scope)."""

END = b"\r\n\r\n"


class Incomplete(Exception):
    """More bytes have to arrive."""


class Received(Unreader):  # type: ignore[misc]
    """Gives the bytes that have been received. Raises Incomplete for more."""

    def __init__(self, data: bytes | bytearray = b""):
        super().__init__()
        self.buf.write(data)

    def chunk(self, size_hint: int | None = None) -> bytes:
        raise Incomplete


def is_complete(buffer: bytearray, scanned: int) -> bool:
    """scanned: the number of leading bytes that are known to contain no end of a head."""
    return buffer.find(END, max(0, scanned - 3)) >= 0


def is_suspicious(cfg: Any, buffer: bytearray, added: bytes) -> bool:
    """Whether the parser can refuse an incomplete head: its first line is too long, or a line has no CR at its end."""
    limit = cfg.limit_request_line + 2
    if len(buffer) > limit and buffer.find(b"\r\n", 0, limit) < 0:
        return True
    return added.count(b"\n") != added.count(b"\r\n")


def parse_head(cfg: Any, buffer: bytearray, peer: Address, number: int) -> Request:
    """The request whose head is at the start of the buffer; the head is removed from the buffer.

    number: 1 for the first request of a connection. Raises Incomplete, and ParseException of gunicorn.
    """
    received = Received(buffer)
    request = Request(cfg, received, peer, number)
    buffer[:] = received.take_buffered()
    return request


def mark_repeated(request: Request, name: str) -> None:
    """Joins the values of a repeated header with line breaks, which no value can contain.

    gunicorn joins them with commas, so that one value and several look alike. name: in upper case."""
    values = [value for given, value in request.headers if given == name]
    if len(values) > 1:
        others = [(given, value) for given, value in request.headers if given != name]
        request.headers = [*others, (name, "\n".join(values))]


def check_size(buffer: bytearray, limit: int) -> None:
    """Raises LimitRequestHeaders if the head is larger."""
    if len(buffer) > limit:
        end = buffer.find(END, 0, limit + len(END))
        if end < 0:
            raise LimitRequestHeaders(
                f"the request line and the headers are larger than {limit} bytes (setting max_head_bytes)"
            )
