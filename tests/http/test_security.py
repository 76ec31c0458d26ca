"""Every response is audited with the status that is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, patient
from support.targets import ask

from fhirstore.http.app import make_app
from fhirstore.model.context import InteractionSummary, RequestContext
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins
from fhirstore.store.errors import Unavailable

MakeApi = Callable[..., Api]


class Auditor:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []
        self.is_failing = False

    @hookimpl
    def audit(self, request: RequestContext, interaction: InteractionSummary, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.seen.append((interaction.name, interaction.method, status))


@pytest.fixture
def auditor() -> Auditor:
    return Auditor()


@pytest.fixture
def audited(make_api: MakeApi, auditor: Auditor) -> MakeApi:
    def make(**settings: Any) -> Api:
        plain = make_api(**settings)
        ctx = replace(plain.ctx, plugins=Plugins([LoadedPlugin("test", "test", auditor)]))
        return Api(make_app(ctx), ctx)

    return make


def test_every_response_is_audited_once_with_the_status_that_is_sent(
    audited: MakeApi, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = audited(max_body_bytes=1000)
    api.put("Patient/1", patient(id="1"))
    api.get("Patient/1")
    api.delete("Patient/1", Prefer="return=OperationOutcome")
    api.post("Patient", patient("x" * 2000))
    api.post("", b'{"resourceType":"Bundle","type":"batch","entry":[' + b" " * 2000 + b"]}")
    api.client.post("/fhir/Patient", data="x", content_type="text/plain")
    api.get("Patient", Accept="text/html")
    api.get("Patient?name=%ff")
    api.get("/nothing")
    api.call("PATCH", "Patient/1")
    api.client.get("/fhir/Patient", environ_overrides={"HTTP_HOST": "evil.example"})
    ask(api, "//fhir/Patient")
    api.post("Patient", patient(), Origin="https://evil.example")
    api.get("/metrics")
    api.get("/health/live")
    assert auditor.seen == [
        ("update", "PUT", 201),
        ("read", "GET", 200),
        ("delete", "DELETE", 200),
        ("create", "POST", 413),
        ("transaction", "POST", 413),
        ("create", "POST", 415),
        ("search-type", "GET", 406),
        ("search-type", "GET", 400),
        ("", "GET", 404),
        ("", "PATCH", 405),
        ("", "GET", 421),
        ("", "GET", 400),
        ("", "POST", 403),
        ("metrics", "GET", 200),
    ]


def test_internal_errors_and_an_unavailable_store_are_audited(
    audited: MakeApi, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = audited()
    api.put("Patient/1", patient(id="1"))
    auditor.seen.clear()

    def fail(problem: Exception) -> Callable[..., Any]:
        def raised(*args: Any, **more: Any) -> Any:
            raise problem

        return raised

    with monkeypatch.context() as patched:
        patched.setattr(api.ctx.store, "read", fail(Unavailable("gone")))
        assert api.get("Patient/1").status_code == 503
    with monkeypatch.context() as patched:
        patched.setattr("fhirstore.http.views.compose", fail(LookupError("broken")))
        assert api.get("Patient/1").status_code == 500
    with monkeypatch.context() as patched:
        patched.setattr("fhirstore.http.views.rest_request", fail(LookupError("broken")))
        assert api.get("Patient/1").status_code == 500
    assert auditor.seen == [("read", "GET", status) for status in (503, 500, 500)]


def test_entries_of_a_batch_are_audited_besides_the_batch(audited: MakeApi, auditor: Auditor) -> None:
    api = audited()
    entries = [{"request": {"method": "GET", "url": url}} for url in ("Patient/none", "metadata")]
    api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert [(name, status) for name, _, status in auditor.seen] == [
        ("read", 404),
        ("capabilities", 200),
        ("transaction", 200),
    ]
