"""Metrics and pages that plugins provide to operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fhirstore.model.context import RequestContext


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric. labels distinguish the samples of a metric."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of `/metrics`: https://prometheus.io/docs/instrumenting/exposition_formats/.

    name: letters, digits and "_", with the unit at the end (`…_seconds`). help: one line. Samples are read from the
    store when `/metrics` is requested, so all processes and all servers return the same values."""

    name: str
    help: str
    samples: tuple[Sample, ...]
    kind: Literal["gauge", "counter"] = "gauge"


@dataclass(frozen=True, slots=True)
class OperatorPage:
    """A page for operators beside the FHIR API.

    path: such as "/clinic/beds". render: returns the HTML document for a request and its query parameters. It must
    escape data. Scripts and forms do not work (Content-Security-Policy)."""

    path: str
    render: Callable[[RequestContext, Mapping[str, str]], str]
