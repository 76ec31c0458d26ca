"""Bodies of requests, received piece by piece. Large ones are kept in a temporary file."""

from __future__ import annotations

import io
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Protocol, cast

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, LimitRequestHeaders

from fhirstore.serving.heads import Received

SPILL_BYTES = 256 * 1024
"""A larger body is kept in a temporary file, so that slow clients occupy disk space and not memory."""
_CRLF = b"\r\n"


class Body(Protocol):
    """received: the number of bytes so far. is_whole: False if the rest will not be read, because it is too large."""

    received: int
    is_whole: bool

    def feed(self, buffer: bytearray) -> bool:
        """Takes the bytes of the body from the start of the buffer. Returns whether it is complete.

        Raises ParseException of gunicorn for malformed chunks, and OSError if the temporary file cannot be written.
        """

    def stream(self) -> BinaryIO: ...

    def close(self) -> None: ...


def body_of(request: Any, limit: int) -> Body:
    """The body of a request of gunicorn. limit: bytes; of a larger body only the start is read, or nothing."""
    reader = request.body.reader
    if isinstance(reader, ChunkedReader):
        return ChunkedBody(reader, limit)
    return SizedBody(reader.length, limit)


def _spool() -> BinaryIO:
    return cast(BinaryIO, SpooledTemporaryFile(max_size=SPILL_BYTES))


class SizedBody:
    """A body with Content-Length. If that is above the limit, nothing is read: the application refuses the length."""

    def __init__(self, length: int, limit: int):
        self.is_whole = length <= limit
        self.received = 0
        self._left = length if self.is_whole else 0
        self._stream: BinaryIO | None = None

    def feed(self, buffer: bytearray) -> bool:
        data = bytes(buffer[: self._left])
        del buffer[: len(data)]
        self._left -= len(data)
        self.received += len(data)
        if self._stream is None:
            if self._left == 0:  # the usual case: the body arrives in one piece
                self._stream = io.BytesIO(data)
                return True
            self._stream = _spool()
        self._stream.write(data)
        return self._left == 0

    def stream(self) -> BinaryIO:
        assert self._stream is not None
        self._stream.seek(0)
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class ChunkedBody:
    """A body with `Transfer-Encoding: chunked`. Above the limit, one byte more is kept: the application counts it."""

    def __init__(self, reader: ChunkedReader, limit: int):
        self.received, self.is_whole = 0, True
        self._limit = limit
        self._lines = _ChunkLines(reader)
        self._stream = _spool()
        self._left = 0
        self._step = self._size

    def feed(self, buffer: bytearray) -> bool:
        position = 0
        try:
            while (used := self._step(buffer, position)) > 0:
                position += used
        finally:
            del buffer[:position]
        return self._step == self._end

    def stream(self) -> BinaryIO:
        self._stream.seek(0)
        return self._stream

    def close(self) -> None:
        self._stream.close()

    # Each step returns the number of bytes that it has used; 0 if it needs more of them, or if the body has ended.

    def _size(self, buffer: bytearray, position: int) -> int:
        end = buffer.find(_CRLF, position)
        if end < 0:
            if len(buffer) - position > self._lines.limit_chunk_size_line:
                raise InvalidChunkSize(b"line without an end")
            return 0
        self._left = self._lines.size(bytes(buffer[position : end + 2]))
        self._step = self._data if self._left else self._trailers
        return end + 2 - position

    def _data(self, buffer: bytearray, position: int) -> int:
        data = bytes(buffer[position : position + self._left])
        self.received += len(data)
        if self.received > self._limit:
            self._stream.write(data[: self._limit + 1])
            self.is_whole = False
            self._step = self._end
            return len(data)
        self._stream.write(data)
        self._left -= len(data)
        if self._left == 0:
            self._step = self._data_end
        return len(data)

    def _data_end(self, buffer: bytearray, position: int) -> int:
        found = bytes(buffer[position : position + 2])
        if not _CRLF.startswith(found):
            raise ChunkMissingTerminator(found)
        if len(found) < 2:
            return 0
        self._step = self._size
        return 2

    def _trailers(self, buffer: bytearray, position: int) -> int:
        if buffer.startswith(_CRLF, position):
            used = 2
        else:
            end = buffer.find(_CRLF * 2, position)
            if end < 0:
                if len(buffer) - position > self._lines.limit_trailer_section:
                    raise LimitRequestHeaders("limit request trailer section size")
                return 0
            used = end + 4 - position
        self._lines.check_trailers(bytes(buffer[position : position + used]))
        self._step = self._end
        return used

    def _end(self, buffer: bytearray, position: int) -> int:
        return 0


class _ChunkLines(ChunkedReader):  # type: ignore[misc]
    """The rules of gunicorn for the lines between chunks, applied to one complete line or trailer section."""

    def __init__(self, reader: ChunkedReader):
        super().__init__(reader.req, Received())

    def size(self, line: bytes) -> int:
        """The size in a line that begins a chunk."""
        size: int = self.parse_chunk_size(Received(), data=line)[0]
        return size

    def parse_trailers(self, unreader: Any, data: bytes | None) -> None:
        """Called by parse_chunk_size after the last chunk, when the trailers may not have arrived."""

    def check_trailers(self, section: bytes) -> None:
        super().parse_trailers(Received(), section)
