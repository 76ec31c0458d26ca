"""`fhirstore sas check` against endpoints that are slow, endless, cut off or speak something else: always a report."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import pytest
from support.cli import fhirstore

from fhirstore.errors import StartupError
from fhirstore_sas.check.client import ClientLimits, EndpointClient
from fhirstore_sas.check.languages import LANGUAGES
from fhirstore_sas.check.model import CheckReport
from fhirstore_sas.check.queries import PARIS
from fhirstore_sas.check.reports import FORMATS
from fhirstore_sas.check.run import CheckPlan, run
from fhirstore_sas.searches import PS, SOS

NOW = datetime(2026, 10, 24, 8, tzinfo=PARIS)
PLAN = CheckPlan((PS, SOS), ("899900000001",), ("399900000000112",), with_accounts=True)
QUICK = ClientLimits(timeout=0.2, max_seconds=0.6, max_bytes=1_000_000)
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json"
ENDLESS = 10_000

Talk = Callable[[socket.socket], None]


@contextmanager
def endpoint(talk: Talk) -> Iterator[str]:
    """A server that reads the head of one request of each connection, or the first of a TLS handshake, and goes on with
    `talk`; gives its base."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(link: socket.socket) -> None:
        try:
            link.settimeout(20)
            got = b""
            while b"\r\n\r\n" not in got and not got.startswith(b"\x16") and (piece := link.recv(65536)):
                got += piece
            talk(link)
            link.shutdown(socket.SHUT_WR)
            while link.recv(65536):  # what the client still sends would reset the connection
                pass
        except OSError:
            pass
        finally:
            link.close()

    def accept() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(link,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def says(body: bytes, *headers: str, status: str = "200 OK") -> Talk:
    """Answers so, whatever was asked."""
    given = {h.partition(":")[0].lower() for h in headers}
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"]
    if "content-type" not in given:
        lines.append("Content-Type: application/fhir+json")
    return lambda link: link.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + body)


def drips(link: socket.socket) -> None:
    """Sends single bytes without end, each before the idle timeout."""
    link.sendall(f"{HEAD}\r\n\r\n".encode())
    pause = threading.Event()
    for _ in range(ENDLESS):
        link.sendall(b" ")
        pause.wait(0.05)


def inflates(link: socket.socket) -> None:
    says(packed(), "Content-Encoding: gzip")(link)


@cache
def packed() -> bytes:
    """A small body that is 300 MB when it is unpacked."""
    return gzip.compress(b" " * 300_000_000, 1)


def silent(link: socket.socket) -> None:
    while link.recv(65536):
        pass


def unending(link: socket.socket) -> None:
    link.sendall(f"{HEAD}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(ENDLESS):
        link.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")


def bundle(*entries: Any, **more: Any) -> bytes:
    found = {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": list(entries), **more}
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")


def slots(number: int) -> bytes:
    return bundle(*({"resource": {"resourceType": "Slot", "id": str(n), "status": "free"}} for n in range(number)))


def slot_at(start: str) -> bytes:
    return bundle({"resource": {"resourceType": "Slot", "id": "1", "status": "free", "start": start, "end": start}})


STRANGE: dict[str, Talk] = {
    "no http": lambda link: link.sendall(b"220 mail.example ESMTP\r\n"),
    "nothing": lambda link: None,
    "half an answer": lambda link: link.sendall(f"{HEAD}\r\nContent-Length: 900\r\n\r\n{{".encode()),
    "no end of headers": lambda link: link.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000),
    "headers that are none": lambda link: link.sendall(b"HTTP/1.1 200 OK\r\n\x00\x1b: \xff\r\n\r\n{}"),
    "status 999": says(b"{}", status="999 \x1b[2J"),
    "status 204": says(b"", status="204 No Content"),
    "html": says(b"<html><script>alert(1)</script>\x1b[2J</html>", "Content-Type: text/html"),
    "html as json": says(b"<!doctype html>"),
    "redirect to itself": says(b"", "Location: /fhir/metadata", status="302 Found"),
    "redirect elsewhere": says(b"", "Location: http://[", status="307 Temporary Redirect"),
    "error 500": says(b'{"resourceType": "OperationOutcome", "issue": []}', status="500 Internal Server Error"),
    "gzip": says(gzip.compress(bundle()), "Content-Encoding: gzip"),
    "gzip that is none": says(b"nothing packed", "Content-Encoding: gzip"),
    "gzip cut off": says(gzip.compress(bundle())[:-9], "Content-Encoding: gzip"),
    "gzip without measure": inflates,
    "unknown packing": says(b"\x00\xff", "Content-Encoding: rot13"),
    "charset of another kind": says(bundle(), "Content-Type: application/fhir+json; charset=hex"),
    "latin-1": says('{"resourceType":"Bundle","é":1}'.encode("latin-1"), "Content-Type: application/fhir+json"),
    "utf-16": says(bundle().decode().encode("utf-16"), "Content-Type: application/fhir+json; charset=utf-16"),
    "half a character": says(b'{"resourceType":"Bundle","id":"\\ud83d"}'),
    "cookies": says(bundle(), "Set-Cookie: a=b; Expires=soon; Domain=.", "Set-Cookie: \xff="),
    "a slot of the year 1": says(slot_at("0001-01-01T00:00:00.000+23:59")),
    "a slot of the year 9999": says(slot_at("9999-12-31T23:59:59.999-23:59")),
    "unending": unending,
    "drips": drips,
    "silent": silent,
}


def checked(base: str, plan: CheckPlan = PLAN, limits: ClientLimits = QUICK) -> CheckReport:
    with EndpointClient(base, limits=limits) as client:
        report = run(client, plan, lambda *_: [], NOW)
    for format in FORMATS.values():
        for texts in LANGUAGES.values():
            written = format(report, texts)
            assert not any(c in written for c in "\x00\x1b\x9b\u202e")
    return report


@pytest.mark.parametrize("kind", STRANGE)
def test_whatever_the_endpoint_does_there_is_a_report(kind: str) -> None:
    with endpoint(STRANGE[kind]) as base:
        report = checked(base)
    assert "metadata" in {finding.rule.id for finding in report.findings}
    assert len(report.findings) + len(report.passed) + len(report.skipped) > 70


@pytest.mark.parametrize(("talk", "why"), [(drips, "longer than 0.6 s"), (unending, "larger than 1000000 bytes")])
def test_the_report_says_why_an_answer_was_not_read_to_its_end(talk: Talk, why: str) -> None:
    with endpoint(talk) as base:
        report = checked(base)
    (metadata,) = [f for f in report.findings if f.rule.id == "metadata"]
    assert why in metadata.occurrences[0].faults[0].found


@pytest.mark.parametrize("talk", [drips, silent])
def test_an_endpoint_that_is_too_slow_is_given_up(talk: Talk) -> None:
    asked = []

    def counted(link: socket.socket) -> None:
        asked.append(link)
        talk(link)

    with endpoint(counted) as base:
        report = checked(base)
    assert len(asked) == QUICK.max_slow_requests
    assert {rule.id: why for rule, why in report.skipped}["slot-instant"] == "too-slow"


def test_memory_is_bounded_whatever_is_sent() -> None:
    packed()  # memory of the endpoint, not of the client
    for kind in ("unending", "gzip without measure"):
        with endpoint(STRANGE[kind]) as base, EndpointClient(base, limits=QUICK) as client:
            client.get("metadata")
            tracemalloc.start()
            client.get("metadata")
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert most < 100 * QUICK.max_bytes, kind


def test_ten_thousand_entries_are_looked_at() -> None:
    with endpoint(says(slots(10_000))) as base:
        report = checked(base, CheckPlan((PS,), ("899900000001",)), ClientLimits())
    found = {finding.rule.id: finding for finding in report.findings}
    assert found["reference-resolves"].count >= 10_000
    assert len(found["reference-resolves"].occurrences[0].faults) == 5


def test_an_encoding_other_than_utf_8_is_told() -> None:
    for kind, found in (("latin-1", "≠ UTF-8"), ("utf-16", None), ("charset of another kind", "charset=hex")):
        with endpoint(STRANGE[kind]) as base:
            report = checked(base, CheckPlan((PS,), ("899900000001",)))
        faults = [str(f) for o in report.findings if o.rule.id == "content-type" for f in o.occurrences[0].faults]
        assert any(found in fault for fault in faults) if found else faults == [], (kind, faults)


def test_nobody_there_is_told_in_one_line() -> None:
    with endpoint(lambda _: None) as base:
        pass
    with pytest.raises(StartupError, match="does not answer"):
        checked(base)


def test_a_server_without_tls_or_with_a_certificate_of_nobody_is_told_in_one_line() -> None:
    with endpoint(says(b"{}")) as base:
        done = fhirstore("sas", "check", base.replace("http:", "https:"))
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert "does not answer" in done.output
