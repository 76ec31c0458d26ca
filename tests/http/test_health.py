"""Health checks: of the store, of its clock, and of the protection of the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.api import Api, issue, patient
from support.targets import CERTIFIED

from fhirstore.http.app import make_app
from fhirstore.http.health import PROBE_INTERVAL_S, StoreProbe
from fhirstore.model.context import InteractionSummary
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins
from fhirstore.store.errors import Unavailable

MakeApi = Callable[..., Api]


@pytest.mark.parametrize(("listening_on", "is_warned"), [
    ("0.0.0.0", True), ("::", True), ("192.0.2.7", True), ("fhir.internal", True), ("", True),
    ("127.0.0.1", False), ("::1", False), ("localhost", False), (None, False),
])  # fmt: skip
def test_ready_warns_of_a_server_that_everyone_can_reach(api: Api, listening_on: str | None, is_warned: bool) -> None:
    answer = Api(make_app(api.ctx, listening_on), api.ctx).get("/health/ready")
    assert answer.status_code == 200
    assert (issue(answer)["severity"] == "warning") is is_warned
    if is_warned:
        assert "can read and change all data" in issue(answer)["diagnostics"]


class Guarded:
    @hookimpl
    def authorize(self, interaction: InteractionSummary) -> None:
        pass


def test_rules_of_access_or_tls_end_the_warning(make_api: MakeApi) -> None:
    api = make_api()
    guarded = replace(api.ctx, plugins=Plugins([LoadedPlugin("test", "test", Guarded())]))
    certified = make_api(**CERTIFIED).ctx
    for server in (guarded, certified):
        answer = Api(make_app(server, "0.0.0.0"), server).get("/health/ready")
        assert issue(answer)["severity"] == "information"


# --- the store


@pytest.fixture
def time_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the monotonic clock of health checks."""

    def set_to(seconds: float) -> None:
        clock = SimpleNamespace(monotonic=lambda: seconds, time=time.time)
        monkeypatch.setattr("fhirstore.http.health.time", clock)

    return set_to


def test_ready_fails_while_the_store_cannot_be_written(
    api: Api, monkeypatch: pytest.MonkeyPatch, time_of: Callable[[float], None]
) -> None:
    probes = []

    def probe() -> int:
        probes.append(1)
        raise Unavailable("the disk is full")

    time_of(100)
    assert api.get("/health/ready").status_code == 200
    time_of(100 + PROBE_INTERVAL_S)
    with monkeypatch.context() as patched:
        patched.setattr(api.ctx.store, "probe", probe)
        for _ in range(5):
            answer = api.get("/health/ready")
            assert (answer.status_code, "the disk is full" in answer.text) == (503, True)
            assert "fhirstore_store_ready 0.0" in api.get("/metrics").text
    assert len(probes) == 1  # health checks of strangers cost no more than that
    time_of(100 + 2 * PROBE_INTERVAL_S)
    assert api.get("/health/ready").status_code == 200


def test_a_probe_that_hangs_holds_up_one_request_only(api: Api, time_of: Callable[[float], None]) -> None:
    began, may_end = threading.Event(), threading.Event()

    class Hanging:
        def probe(self) -> int:
            began.set()
            assert may_end.wait(20)
            return 0

    time_of(100)
    store_probe = StoreProbe(api.ctx.store)
    store_probe.refresh()
    store_probe._store = cast(Any, Hanging())
    time_of(102)
    thread = threading.Thread(target=store_probe.refresh)
    thread.start()
    assert began.wait(20)
    store_probe.refresh()  # returns with the last result
    may_end.set()
    thread.join()
    assert store_probe.problem is None


def test_ready_says_that_the_clock_was_ahead(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + 3600)
        patched.setattr(time, "time_ns", lambda: int((now + 3600) * 1e9))
        ahead = api.created(patient())
    later = api.created(patient())
    assert later["meta"]["lastUpdated"] >= ahead["meta"]["lastUpdated"]
    answer = api.get("/health/ready")
    assert (answer.status_code, issue(answer)["severity"]) == (200, "warning")
    assert "ahead of the clock of this server" in issue(answer)["diagnostics"]
    [line] = [line for line in api.get("/metrics").text.splitlines() if line.startswith("fhirstore_store_clock_ahead")]
    assert 3500 < float(line.split()[1]) <= 3600


def test_a_clock_that_was_ahead_moves_the_following_versions_by_little(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred versions are at most as many milliseconds after the one that was ahead."""
    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now + 3600)
        patched.setattr(time, "time_ns", lambda: int((now + 3600) * 1e9))
        api.put("Patient/1", patient(id="1"))
    for n in range(100):
        api.put("Patient/1", patient(str(n), id="1"))
    assert api.ctx.store.probe() <= (now + 3600.2) * 1e6
    entries = api.get("Patient/1/_history?_count=200").get_json()["entry"]
    found = [entry["resource"]["meta"]["lastUpdated"] for entry in entries]
    assert found == sorted(found, reverse=True)
