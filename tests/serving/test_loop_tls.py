"""The event loop with TLS connections."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from support.serving import answer, get, post, read_all, response, serving
from support.tls import World

from fhirstore.serving.connection import State
from fhirstore.settings import Settings
from fhirstore.tls.context import make_context


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
                good.sendall(get("/a"))
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
