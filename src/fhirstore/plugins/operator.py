"""What hooks give to those who run a server: numbers, pages, commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fhirstore.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric, told from its others by labels."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """Numbers under one name at `/metrics` (https://prometheus.io/docs/instrumenting/exposition_formats/).

    name: letters, digits and "_", with the unit at its end (`…_seconds`). help: one line. They are read when they are
    asked for, from the store, so that each process of a server and each server gives the same ones."""

    name: str
    help: str
    samples: tuple[Sample, ...]
    kind: Literal["gauge", "counter"] = "gauge"


@dataclass(frozen=True, slots=True)
class OperatorPage:
    """A page to look at, beside the FHIR interface. path: "/clinic/beds". write: makes the HTML document, from the
    store and the query parameters; it must escape what it did not write itself, and scripts do not run."""

    path: str
    write: Callable[[Store, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a command of a plugin works on. store: not opened with a schema, so only `read`, `history`, `records` and
    commits of records alone are possible. options: of plugins, "PLUGIN.NAME" -> value."""

    store: Store
    options: Mapping[str, str]
