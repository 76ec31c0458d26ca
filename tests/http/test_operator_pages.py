"""/metrics and the pages of plugins: what they hold, and who sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.errors import StartupError, error
from fhirstore.http.app import make_app
from fhirstore.http.operator import exposition
from fhirstore.model.context import InteractionSummary
from fhirstore.plugins import (
    Metric,
    OperatorPage,
    PluginContext,
    Record,
    RequestContext,
    Sample,
    hookimpl,
)
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins
from fhirstore.store.errors import Unavailable


class Clinic:
    def __init__(self, path: str = "/clinic/beds") -> None:
        self.path = path

    @hookimpl
    def pages(self, context: PluginContext) -> list[OperatorPage]:
        def render(request: RequestContext, parameters: Mapping[str, str]) -> str:
            return f"<p>{parameters.get('ward', 'all')} {len(context.records.list('p0-bed'))}</p>"

        return [OperatorPage(self.path, render)]

    @hookimpl
    def metrics(self, context: PluginContext) -> list[Metric]:
        return [
            Metric("clinic_beds", "Beds.", (Sample(len(context.records.list("p0-bed")), {"ward": "a"}), Sample(2.5)))
        ]


class Broken:
    @hookimpl
    def metrics(self) -> list[Metric]:
        raise Unavailable("locked")


class Guarded:
    @hookimpl
    def authorize(self, interaction: InteractionSummary) -> None:
        if interaction.name in ("metrics", "page"):
            raise error(403, "forbidden", "Not for you.")


MakeApi = Callable[..., Api]


@pytest.fixture
def make(template: Template, tmp_path: Path) -> MakeApi:
    plain = template.fresh(tmp_path / "t.db")

    def made(*plugins: object, **settings: Any) -> Api:
        found = [LoadedPlugin(f"p{n}", "test", plugin) for n, plugin in enumerate(plugins or (Clinic(),))]
        ctx = replace(plain.ctx, plugins=Plugins(found), settings=replace(plain.ctx.settings, **settings))
        return Api(make_app(ctx), ctx)

    return made


def test_metrics_are_read_when_they_are_asked_for(make: MakeApi) -> None:
    api = make()
    answer = api.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=")
    lines = answer.text.splitlines()
    assert lines[-4:] == [
        "# HELP clinic_beds Beds.",
        "# TYPE clinic_beds gauge",
        'clinic_beds{ward="a"} 0.0',
        "clinic_beds 2.5",
    ]
    assert "fhirstore_store_ready 1.0" in lines
    api.ctx.store.commit([], records=[Record("p0-bed", "1", b"")])
    assert 'clinic_beds{ward="a"} 1.0' in api.get("/metrics").text.splitlines()


def test_a_plugin_that_cannot_read_the_store_leaves_the_others_alone(make: MakeApi) -> None:
    answer = make(Clinic(), Broken()).get("/metrics")
    assert (answer.status_code, "clinic_beds 2.5" in answer.text) == (200, True)


def test_texts_are_written_as_prometheus_reads_them() -> None:
    metric = Metric("m_total", 'a "b" \\ c\nd', (Sample(float("inf"), {"x": 'a "b" \\ c\nd'}), Sample(1e20)), "counter")
    assert exposition([metric]).decode().splitlines() == [
        '# HELP m_total a "b" \\\\ c\\nd',
        "# TYPE m_total counter",
        'm_total{x="a \\"b\\" \\\\ c\\nd"} +Inf',
        "m_total 1e+20",
    ]


def test_a_page_is_html_that_runs_nothing(make: MakeApi) -> None:
    answer = make().get("/clinic/beds?ward=b")
    assert (answer.text, answer.content_type) == ("<p>b 0</p>", "text/html;charset=utf-8")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/metrics", "/clinic/beds"])
def test_nothing_can_be_changed_there(make: MakeApi, method: str, path: str) -> None:
    answer = make().call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["/metrics", "/clinic/beds"])
@pytest.mark.parametrize(
    ("address", "headers", "loopback"),
    [
        ("127.0.0.1", {}, 200),
        ("127.8.0.1", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("192.0.2.1", {}, 403),
        ("::ffff:192.0.2.1", {}, 403),
        ("", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.1"}, 403),
        ("127.0.0.1", {"X-Real-IP": "192.0.2.1"}, 403),
        ("127.0.0.1", {"Via": "1.1 proxy"}, 403),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, 403),
    ],
    ids=[
        "v4",
        "v4 net",
        "v6",
        "mapped",
        "other",
        "mapped other",
        "socket",
        "xff",
        "forwarded",
        "real",
        "via",
        "proto",
    ],
)
def test_who_sees_it(make: MakeApi, path: str, address: str, headers: dict[str, str], loopback: int) -> None:
    for setting, status in (("loopback", loopback), ("all", 200), ("off", 404)):
        client = make(operator_pages=setting).client
        answer = client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == status, setting
        if status == 403:
            assert "operator_pages" in answer.get_json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("path", ["/metrics", "/clinic/beds"])
def test_a_proxy_that_the_settings_name_is_not_here(make: MakeApi, path: str) -> None:
    assert make(trusted_proxies=("127.0.0.1",)).get(path).status_code == 403


@pytest.mark.parametrize("path", ["/metrics", "/clinic/beds"])
def test_plugins_may_forbid_it(make: MakeApi, path: str) -> None:
    assert make(Clinic(), Guarded()).get(path).status_code == 403


@pytest.mark.parametrize("path", ["beds", "/fhir/beds", "/health", "/metrics", "/a/<b>"])
def test_a_page_needs_a_place_of_its_own(make: MakeApi, path: str) -> None:
    with pytest.raises(StartupError, match="a plugin has a page at"):
        make(Clinic(path))


def test_two_pages_cannot_have_one_place(make: MakeApi) -> None:
    with pytest.raises(StartupError, match="a plugin has a page at"):
        make(Clinic(), Clinic())
