"""Who reaches which rule without a certificate, and the headers of every response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from support.api import Api
from support.targets import CERTIFIED, ask

from fhirstore.interactions.read import Read

MakeApi = Callable[..., Api]


@pytest.fixture
def closed(make_api: MakeApi) -> Api:
    """A server that requires certificates. Requests of its client come from this machine, without one."""
    return make_api(**CERTIFIED)


def test_only_health_needs_no_certificate(closed: Api) -> None:
    """A new rule is closed unless this list names it."""
    open_rules = set()
    for rule in closed.app.url_map.iter_rules():
        path = rule.rule
        for argument in rule.arguments:
            path = path.replace(f"<{argument}>", "Patient" if argument == "type" else "x")
        for method in sorted(rule.methods or ()):
            for peer in ("127.0.0.1", "192.0.2.1"):
                answer = closed.client.open(path, method=method, environ_base={"REMOTE_ADDR": peer})
                if answer.status_code != 401:
                    open_rules.add((rule.rule, peer))
    health = {(path, peer) for path in ("/health/live", "/health/ready") for peer in ("127.0.0.1", "192.0.2.1")}
    assert open_rules == health | {("/metrics", "127.0.0.1"), ("/jobs", "127.0.0.1")}


def test_a_rule_that_is_added_later_is_closed(closed: Api) -> None:
    closed.app._got_first_request = False
    closed.app.add_url_rule("/health/new", "new", lambda: "open")
    assert closed.client.get("/health/new").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/fhir/metadata", 200),
        ("GET", "/fhir/Patient/none", 404),
        ("POST", "/fhir/Patient", 415),
        ("GET", "/nothing", 404),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/fhir/Patient", 200),
        ("GET", "/metrics", 200),
        ("GET", "/jobs", 200),
        ("GET", "/health/live", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/fhir//Patient", 400),
        ("DELETE", "/fhir/Patient/none", 204),
    ],
)
def test_browsers_guess_no_type(make_api: MakeApi, method: str, path: str, status: int) -> None:
    answer = ask(make_api(), path, method)
    assert answer.status_code == status
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]


@pytest.mark.parametrize("given", ["a", "0-9.A_z", "x" * 64])
def test_an_identifier_of_the_client_is_kept(make_api: MakeApi, given: str) -> None:
    assert make_api().get("metadata", X_Request_Id=given).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "é", "a\tb", "a/b"])
def test_an_identifier_that_is_harmful_in_logs_is_replaced(make_api: MakeApi, given: str) -> None:
    api = make_api()
    first, second = (api.get("metadata", X_Request_Id=given).headers["X-Request-Id"] for _ in range(2))
    assert first != second
    assert len(first) == len(second) == 32


def test_log_lines_and_the_context_of_a_request_carry_its_identifier(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api()
    seen: list[tuple[str, Any]] = []
    read = Read.execute

    def execute(self: Read, server: Any, request: Any) -> Any:
        seen.append((request.id, structlog.contextvars.get_contextvars().get("request_id")))
        return read(self, server, request)

    monkeypatch.setattr(Read, "execute", execute)
    for given in ("first", "second"):
        assert api.get("Patient/none", X_Request_Id=given).status_code == 404
    assert seen == [("first", "first"), ("second", "second")]
    assert "request_id" not in structlog.contextvars.get_contextvars()
