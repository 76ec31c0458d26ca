"""One attempt, over real sockets: requests, and the meaning of responses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.bookings import EDITOR, sas_appointment
from support.relay_certificates import Certificates
from support.sas_platform import Platform as FakePlatform

from fhirstore_sas.relay.outbox import message_of
from fhirstore_sas.relay.send import Platform, PlatformResponse, RelaySettings, criteria_of

MESSAGE = message_of(sas_appointment("a b|c&d"))
CRITERIA = "identifier=urn%3Aoid%3A1.2.3.4%7Ca%20b%5C%7Cc%26d"
Asked = list[tuple[str, str, str | None, Any]]
matched: list[str | None] = []
"""The If-Match of each request of a test."""


@pytest.fixture(autouse=True)
def _nothing_matched() -> None:
    matched.clear()


@contextmanager
def scripted(*answers: tuple[int, dict[str, str], bytes] | Callable[[Any], None]) -> Iterator[tuple[str, Asked]]:
    """A server that gives these answers, one after the other: (base, what it was asked)."""
    asked: Asked = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.command, self.path, self.headers.get("If-None-Exist"), json.loads(body)))
            matched.append(self.headers.get("If-Match"))
            answer = left.pop(0)
            if callable(answer):
                answer(self)
                return
            status, headers, text = answer
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_PUT = do_POST

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/fhir", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(base: str, *, is_first: bool, etag: str = "", **settings: Any) -> PlatformResponse:
    platform = Platform(RelaySettings(base, **{"timeout_s": 5.0, **settings}))
    try:
        return platform.send(MESSAGE, is_first=is_first, etag=etag)
    finally:
        platform.close()


def test_the_first_time_is_a_post_that_doubles_nothing() -> None:
    with scripted((201, {"Location": "http://p/Appointment/1"}, b"")) as (base, asked):
        answer = send(base, is_first=True)
    assert (answer.is_done, answer.status, answer.location) == (True, 201, "http://p/Appointment/1")
    assert asked == [("POST", "/fhir/Appointment", CRITERIA, MESSAGE)]


def test_every_other_time_is_a_conditional_put() -> None:
    with scripted((200, {}, b"{}")) as (base, asked):
        assert send(base, is_first=False).is_done
    assert asked == [("PUT", f"/fhir/Appointment?{CRITERIA}", None, MESSAGE)]


@pytest.mark.parametrize("value", ["a,b", "a|b", "$a", "a\\b", "é ü", "a+b&c=d#e?f%2C"])
def test_the_criteria_mean_the_appointment_alone(api: Api, value: str) -> None:
    """As a platform reads them: a comma would be an "or", had it no backslash."""
    message = message_of(sas_appointment(value))
    assert api.post("Appointment", message_of(sas_appointment("b"))).status_code == 201
    made = [api.put(f"Appointment?{criteria_of(message)}", message).status_code for _ in range(2)]
    assert (made, len(api.ids("Appointment"))) == ([201, 200], 2)


def test_control_characters_are_left_out_of_errors() -> None:
    with scripted((422, {}, b'{"issue":[{"diagnostics":"a\\u001b[31mb\\nc"}]}')) as (base, _):
        assert send(base, is_first=True).error == "422: a [31mb c"


def test_a_post_that_finds_the_appointment_there_is_followed_by_a_put() -> None:
    with scripted((200, {}, b""), (200, {}, b"")) as (base, asked):
        assert send(base, is_first=True).is_done
    assert [method for method, *_ in asked] == ["POST", "PUT"]


@pytest.mark.parametrize("status", [400, 406, 413, 415, 422, 501])
def test_a_refusal_of_the_message_is_final(status: int) -> None:
    with scripted((status, {}, b"")) as (base, _):
        answer = send(base, is_first=True)
    assert (answer.is_done, answer.is_final, answer.status) == (False, True, status)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 408, 409, 410, 412, 425, 429, 500, 502, 503, 504])
def test_other_failures_are_not_final(status: int) -> None:
    with scripted((status, {"Location": "/elsewhere"}, b"")) as (base, asked):
        answer = send(base, is_first=False)
    assert (answer.is_done, answer.is_final, len(asked)) == (False, False, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            b'{"resourceType":"OperationOutcome","issue":[{"diagnostics":"no"},{"details":{"text":"nor that"}}]}',
            "no; nor that",
        ),
        (b'{"issue":[{"code":"invalid"}]}', "invalid"),
        (b'{"issue":7}', '{"issue":7}'),
        (b"[]", "[]"),
        (b"<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", "Service Unavailable"),
        (b"x" * 200_000, "x" * 300),
    ],
    ids=["outcome", "code", "odd", "list", "html", "bytes", "nothing", "long"],
)
def test_the_error_is_what_the_platform_says(text: bytes, said: str) -> None:
    with scripted((503, {}, text)) as (base, _):
        assert send(base, is_first=False).error == f"503: {said}"


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("7", 7, 7),
        ("999999", 3600, 3600),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        ("date", 50, 61),
        ("²", 0, 0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 0, 0),
    ],
    ids=["seconds", "long", "negative", "word", "none", "date", "digit", "impossible date"],
)
def test_retry_after_is_respected(header: str, low: float, high: float) -> None:
    value = formatdate(1_000_060.0, usegmt=True) if header == "date" else header
    platform = Platform(RelaySettings("http://127.0.0.1:1"), clock=lambda: 1_000_000.0)
    assert low <= platform._wait(value) <= high
    platform.close()


@pytest.mark.parametrize(
    ("header", "etag"),
    [('W/"3"', 'W/"3"'), ('"abc"', '"abc"'), ("3", ""), ("", ""), ('W/"' + "x" * 200 + '"', "")],
    ids=["weak", "strong", "bare", "none", "long"],
)
def test_the_etag_of_the_platform_is_kept(header: str, etag: str) -> None:
    with scripted((201, {"ETag": header}, b"")) as (base, _):
        assert send(base, is_first=True).etag == etag


def test_a_platform_with_etags_receives_the_replaced_version() -> None:
    with scripted((200, {"ETag": 'W/"4"'}, b"")) as (base, asked):
        answer = send(base, is_first=False, etag='W/"3"')
    assert (answer.status, answer.etag, matched, len(asked)) == (200, 'W/"4"', ['W/"3"'], 1)


@pytest.mark.parametrize("status", [400, 409, 412, 501])
def test_another_version_of_the_platform_is_replaced_anyway(status: int) -> None:
    with scripted((status, {}, b""), (200, {"ETag": 'W/"5"'}, b"")) as (base, _):
        answer = send(base, is_first=False, etag='W/"3"')
    assert (answer.is_done, answer.etag, matched) == (True, 'W/"5"', ['W/"3"', None])


@pytest.mark.parametrize("status", [401, 422, 429, 503])
def test_other_failures_have_nothing_to_do_with_versions(status: int) -> None:
    with scripted((status, {}, b"")) as (base, asked):
        assert send(base, is_first=False, etag='W/"3"').status == status
    assert len(asked) == 1


def test_a_platform_of_fhirstore_refuses_late_messages(api: Api) -> None:
    """The second message has no answer, the third arrives before it."""
    where = f"Appointment?{criteria_of(MESSAGE)}"
    first = api.put(where, MESSAGE).headers["ETag"]
    assert api.put(where, MESSAGE | {"status": "cancelled"}, **{"If-Match": first}).status_code == 200
    assert api.put(where, MESSAGE | {"status": "noshow"}, **{"If-Match": first}).status_code == 412
    [id] = api.ids("Appointment")
    assert api.get(f"Appointment/{id}").get_json()["status"] == "cancelled"


def test_no_server_is_no_answer() -> None:
    with scripted() as (base, _):
        pass
    answer = send(base, is_first=True)
    assert (answer.status, answer.is_final) == (None, False)
    assert "ConnectError" in answer.error


def test_a_cut_connection_is_no_answer() -> None:
    with scripted(lambda handler: handler.connection.close()) as (base, _):
        assert send(base, is_first=True).status is None


def test_a_missing_response_times_out_and_asks_for_a_pause() -> None:
    given_up = threading.Event()
    with scripted(lambda _: given_up.wait(20)) as (base, _):
        answer = send(base, is_first=True, timeout_s=0.2)
        given_up.set()
    assert (answer.status, answer.wait_s) == (None, 0.2)
    assert "Timeout" in answer.error


def test_a_confirmation_counts_though_the_rest_of_the_answer_is_cut() -> None:
    def cut(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n{")
        handler.wfile.flush()
        handler.connection.close()

    with scripted(cut) as (base, _):
        assert send(base, is_first=True).status == 201


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakePlatform]:
    made = FakePlatform(Certificates.make(tmp_path_factory.mktemp("platform")).folder)
    made.start()
    yield made
    made.kill()


def tls(platform: FakePlatform, **more: Any) -> dict[str, Any]:
    path = platform.folder.joinpath
    return {"cert": str(path("client.pem")), "key": str(path("client.key")), "ca": str(path("ca.pem")), **more}


def test_both_sides_show_their_certificates(platform: FakePlatform) -> None:
    assert send(platform.url, is_first=True, **tls(platform)).status == 201
    assert platform.taken()[-1]["body"] == MESSAGE
    assert EDITOR in str(platform.taken()[-1])


@pytest.mark.parametrize(
    "more", [{"cert": None, "key": None}, {"ca": None}], ids=["no certificate", "another authority"]
)
def test_without_certificates_nothing_is_sent(platform: FakePlatform, more: dict[str, Any]) -> None:
    before = len(platform.taken())
    answer = send(platform.url, is_first=True, **tls(platform, **more))
    assert (answer.status, len(platform.taken())) == (None, before)


def test_nothing_is_sent_to_a_server_with_another_name(tmp_path: Path) -> None:
    certificates = Certificates.make(tmp_path)
    certificates.rename_server("elsewhere.example")
    platform = FakePlatform(tmp_path)
    platform.start()
    try:
        answer = send(platform.url, is_first=True, **tls(platform))
    finally:
        platform.kill()
    assert (answer.status, platform.taken()) == (None, [])
    assert "127.0.0.1" in answer.error
