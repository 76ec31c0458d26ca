"""/metrics and the pages of plugins: for those who run the server, beside the FHIR interface.

Shown to callers on this machine unless the setting `operator_pages` says otherwise. A request that a proxy passed on
comes from elsewhere, whatever the address of the proxy is.
"""

from __future__ import annotations

import logging
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
from fhirstore.http.request import request_context
from fhirstore.http.security import Security
from fhirstore.interactions.context import Server
from fhirstore.model.messages import Message
from fhirstore.plugins import Metric, OperatorPage, Sample
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)

_RESERVED = ("/fhir", "/health", "/metrics")
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def add_operator_pages(app: Flask, ctx: Server, security: Security) -> None:
    """Raises StartupError for a path that is no page's, or two pages of one path."""
    pages = [OperatorPage(jobs_page.PATH, lambda request, query: jobs_page.render(ctx.store, query))]
    pages += [page for found in ctx.plugins.hook.pages(context=ctx.contexts) for page in found or ()]
    if ctx.settings.operator_pages == "off":
        return
    known: set[str] = set()
    for page in pages:
        if not page.path.startswith("/") or page.path.startswith(_RESERVED) or "<" in page.path or page.path in known:
            raise StartupError(f"a plugin has a page at {page.path!r}: an unused path such as /plugin/page is wanted.")
        known.add(page.path)
        view = security.guard(_shown(ctx, security.clients, _page(ctx, page)), "page")
        app.add_url_rule(page.path, f"page {page.path}", view, methods=["GET"])
    app.add_url_rule(
        "/metrics", "metrics", security.guard(_shown(ctx, security.clients, _metrics(ctx)), "metrics"), methods=["GET"]
    )


def _shown(ctx: Server, clients: Clients, view: Callable[[], Response]) -> Callable[[], Response]:
    """The view, for those who may see it."""
    if ctx.settings.operator_pages == "all":
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


def _page(ctx: Server, page: OperatorPage) -> Callable[[], Response]:
    def view() -> Response:
        html = page.render(request_context(), request.args.to_dict())
        return Response(html, content_type="text/html;charset=utf-8", headers=_PAGE_HEADERS)

    return view


def _metrics(ctx: Server) -> Callable[[], Response]:
    def view() -> Response:
        text = exposition([*_own(ctx), *_of_jobs(ctx), *_of_plugins(ctx)])
        return Response(text, content_type=CONTENT_TYPE_LATEST)

    return view


def _own(ctx: Server) -> Iterator[Metric]:
    yield Metric("fhirstore_info", "The version that runs.", (Sample(1, {"version": __version__}),))
    try:
        ctx.store.health()
        ready = 1
    except StoreError:
        ready = 0
    yield Metric("fhirstore_store_ready", "Whether the store can be read and written: 1 or 0.", (Sample(ready),))


def _of_jobs(ctx: Server) -> Iterator[Metric]:
    try:
        yield from jobs_page.metrics(ctx.store)
    except StoreError as problem:
        log.warning("metrics of jobs cannot be read now: %s", problem)


def _of_plugins(ctx: Server) -> Iterator[Metric]:
    for impl in ctx.plugins.hook.metrics.get_hookimpls():
        given: dict[str, Any] = {"context": ctx.contexts}
        read: Any = impl.function
        try:
            yield from read(*(given[name] for name in impl.argnames)) or ()
        except StoreError as problem:
            log.warning("metrics of plugin %s cannot be read now: %s", impl.plugin_name, problem)


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
