"""/metrics and the pages for operators, beside the FHIR API.

Shown to callers on this machine unless the setting `operator_pages` says otherwise. A request that a proxy passed on
comes from elsewhere, whatever the address of the proxy is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as PrometheusMetric
from prometheus_client.registry import Collector

from fhirstore import __version__
from fhirstore.errors import StartupError, error
from fhirstore.http import jobs_page
from fhirstore.http.clients import Clients
from fhirstore.http.health import StoreProbe
from fhirstore.http.security import Security
from fhirstore.http.views import request_context
from fhirstore.interactions.base import query_pairs
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.plugins import Metric, OperatorPage, Sample
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)

_PATH = re.compile(r"(?!/(?:fhir|health|metrics)(?:/|\Z))(?:/[A-Za-z0-9_-]+)+")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def add_operator_pages(
    app: Flask, server: Server, security: Security, clients: Clients, probe: StoreProbe, endpoints: set[str]
) -> None:
    """endpoints: those of the pages are added. Raises StartupError for an invalid or repeated path."""
    pages = [OperatorPage(jobs_page.PATH, lambda request, query: jobs_page.render(server.store, query))]
    pages += [page for found in server.plugins.hook.pages(context=server.contexts) for page in found or ()]
    if server.settings.operator_pages == "off":
        return
    known: set[str] = set()
    for page in pages:
        if page.path in known or not _PATH.fullmatch(page.path):
            raise StartupError(f"a plugin has a page at {page.path!r}. Use an unused path such as /plugin/page.")
        known.add(page.path)
        view = security.guard(_shown(server, clients, _page(server, page)), "page")
        app.add_url_rule(page.path, f"page {page.path}", view, methods=["GET"])
        endpoints.add(f"page {page.path}")
    view = security.guard(_shown(server, clients, _metrics(server, probe)), "metrics")
    app.add_url_rule("/metrics", "metrics", view, methods=["GET"])
    endpoints.add("metrics")


def _shown(server: Server, clients: Clients, view: Callable[[], Response]) -> Callable[[], Response]:
    """The view, for callers that the setting operator_pages allows."""
    if server.settings.operator_pages == "all":
        return view

    def shown() -> Response:
        if not clients.is_here(request.environ):
            raise error(
                403,
                "forbidden",
                Message(
                    "{path} is shown to callers on this machine only, not through a proxy (setting operator_pages).",
                    path=request.path,
                ),
            )
        return view()

    return shown


def _page(server: Server, page: OperatorPage) -> Callable[[], Response]:
    def view() -> Response:
        parameters = query_pairs(request.environ.get("QUERY_STRING", ""))  # `request.args` raises for invalid UTF-8
        html = page.render(request_context(), dict(reversed(parameters)))
        return Response(html, content_type="text/html;charset=utf-8", headers=_PAGE_HEADERS)

    return view


def _metrics(server: Server, probe: StoreProbe) -> Callable[[], Response]:
    def view() -> Response:
        text = exposition([*_own(probe), *_of_jobs(server), *_of_plugins(server)])
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    return view


def _own(probe: StoreProbe) -> Iterator[Metric]:
    yield Metric("fhirstore_info", "The version that runs.", (Sample(1, {"version": __version__}),))
    probe.refresh()
    ready = int(probe.problem is None)
    yield Metric("fhirstore_store_ready", "Whether the store can be written: 1 or 0.", (Sample(ready),))
    yield Metric(
        "fhirstore_store_clock_ahead_seconds",
        "Seconds from now to the newest version in the store, 0 if that is in the past.",
        (Sample(round(probe.clock_ahead_s, 3)),),
    )


def _of_jobs(server: Server) -> Iterator[Metric]:
    try:
        yield from jobs_page.metrics(server.store)
    except StoreError as problem:
        log.warning("cannot read the metrics of jobs: %s", problem)


def _of_plugins(server: Server) -> Iterator[Metric]:
    for impl in server.plugins.hook.metrics.get_hookimpls():
        given: dict[str, Any] = {"context": server.contexts}
        read: Any = impl.function
        try:
            yield from read(*(given[name] for name in impl.argnames)) or ()
        except StoreError as problem:
            log.warning("cannot read the metrics of plugin %s: %s", impl.plugin_name, problem)


class _Collector(Collector):
    """Passes metrics to prometheus_client."""

    def __init__(self, metrics: Iterable[Metric]):
        self._metrics = metrics

    def collect(self) -> Iterator[PrometheusMetric]:
        for metric in self._metrics:
            names = tuple(dict.fromkeys(name for sample in metric.samples for name in sample.labels))
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help)
            name = f"{family.name}_total" if metric.kind == "counter" else family.name
            for sample in metric.samples:
                family.add_sample(name, {n: sample.labels[n] for n in names if n in sample.labels}, sample.value)
            yield family


def exposition(metrics: Iterable[Metric]) -> bytes:
    """https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format"""
    registry = CollectorRegistry()
    registry.register(_Collector(metrics))
    return generate_latest(registry)
