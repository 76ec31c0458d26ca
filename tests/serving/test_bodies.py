from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import NamedTuple

import pytest
from gunicorn.config import Config
from gunicorn.http import errors
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.serving import bodies
from fhirstore.serving.bodies import body_of
from fhirstore.serving.heads import parse_head

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Fed(NamedTuple):
    """content: None if the body is incomplete."""

    content: bytes | None
    rest: bytes
    is_whole: bool


def fed(head: bytes, pieces: list[bytes], limit: int = 1000) -> Fed:
    buffer = bytearray(head)
    body = body_of(parse_head(Config(), buffer, ("127.0.0.1", 1), 1), limit)
    try:
        complete = body.feed(buffer)
        for piece in pieces:
            assert not complete
            buffer += piece
            complete = body.feed(buffer)
        return Fed(body.stream().read() if complete else None, bytes(buffer), body.is_whole)
    finally:
        body.close()


def split(data: bytes, at: list[int]) -> list[bytes]:
    ends = sorted(n % (len(data) + 1) for n in at)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


SPLITS = st.lists(st.integers(0, 500), max_size=8)


@given(st.binary(max_size=300), SPLITS)
def test_a_body_with_a_length_is_complete_with_its_last_byte(data: bytes, at: list[int]) -> None:
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(data)
    pieces = [p for p in split(data, at) if p]
    assert fed(head, pieces) == (data, b"", True)
    if pieces:
        assert fed(head, [*pieces[:-1], pieces[-1][:-1]]).content is None


def test_the_bytes_after_a_body_are_left_in_the_buffer() -> None:
    for head, data in ((HEAD + b"Content-Length: 3\r\n\r\n", b"abc"), (CHUNKED, b"3\r\nabc\r\n0\r\n\r\n")):
        assert fed(head + data + b"GET / HTTP/1.1\r\n", []) == (b"abc", b"GET / HTTP/1.1\r\n", True)


def test_a_request_without_a_length_has_no_body() -> None:
    assert fed(HEAD + b"\r\n", []).content == b""


def encoded(chunks: list[bytes], extension: bytes, trailer: bytes) -> bytes:
    return b"".join(b"%x%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks) + b"0\r\n" + trailer + b"\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";a", b' ; a="b;c"']),
    st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: 1\r\nB: 2\r\n"]),
    SPLITS,
)
def test_chunks_are_joined_however_they_arrive(
    chunks: list[bytes], extension: bytes, trailer: bytes, at: list[int]
) -> None:
    data = encoded(chunks, extension, trailer)
    assert fed(CHUNKED, [p for p in split(data, at) if p]) == (b"".join(chunks), b"", True)
    assert fed(CHUNKED, [data[:-1]]).content is None


MALFORMED = [
    b"x\r\nabc\r\n0\r\n\r\n",
    b"-3\r\nabc\r\n0\r\n\r\n",
    b"0x3\r\nabc\r\n0\r\n\r\n",
    b"+3\r\nabc\r\n0\r\n\r\n",
    b"\r\nabc\r\n0\r\n\r\n",
    b" 3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n",
    b"3_0\r\nabc\r\n0\r\n\r\n",
    b"3\nabc\r\n0\r\n\r\n",
    b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    b"3;=\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabcX\r\n0\r\n\r\n",
    b"3\r\nabc\rX0\r\n\r\n",
    b"3\r\nabc\n0\r\n\r\n",
    b"0\r\nnot a header\r\n\r\n",
    b"0\r\nContent-Length: 3\r\n\r\n",
    b"0\r\nHost: y\r\n\r\n",
    b"0\r\nA: 1\nB: 2\r\n\r\n",
    b"9" * 9000,
    b"3;" + b"a" * 9000,
]


@pytest.mark.parametrize("data", MALFORMED, ids=lambda data: repr(data[:24]))
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_malformed_chunks_are_refused_as_gunicorn_refuses_them(data: bytes, size: int) -> None:
    with pytest.raises(errors.ParseException):
        fed(CHUNKED, [data[n : n + size] for n in range(0, len(data), size)])
    with pytest.raises((errors.ParseException, OSError)):
        Request(Config(), IterUnreader(iter([CHUNKED + data])), ("127.0.0.1", 1)).body.read()


def test_of_a_body_above_the_limit_no_more_is_kept_than_shows_it() -> None:
    assert fed(HEAD + b"Content-Length: 1001\r\n\r\n", []) == (b"", b"", False)
    one = b"258\r\n" + b"x" * 600
    assert fed(CHUNKED, [one, b"\r\n" + one]) == (b"x" * 1200, b"", False)
    assert fed(CHUNKED, [b"1388\r\n" + b"x" * 5000]) == (b"x" * 1001, b"", False)


def test_a_large_body_is_in_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SPILL_BYTES", 100)
    rolled = []
    rollover = SpooledTemporaryFile.rollover
    monkeypatch.setattr(SpooledTemporaryFile, "rollover", lambda self: rolled.append(self) or rollover(self))
    for head, pieces in (
        (HEAD + b"Content-Length: 400\r\n\r\n", [b"x" * 200] * 2),
        (CHUNKED, [b"190\r\n" + b"x" * 200, b"x" * 200 + b"\r\n0\r\n\r\n"]),
    ):
        rolled.clear()
        assert fed(head, pieces).content == b"x" * 400
        assert rolled
