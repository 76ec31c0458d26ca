"""The answer to a search, opened for the checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from fhirstore_sas.check.model import Exchange, Fault, Part, Rule
from fhirstore_sas.check.queries import Search
from fhirstore_sas.modes import CPTS, PS, SOS, Mode

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """A Bundle that answers `search`."""

    search: Search
    exchange: Exchange
    bundle: Part

    @property
    def mode(self) -> Mode:
        return self.search.mode

    @cached_property
    def entries(self) -> list[Part]:
        return self.bundle.each("entry")

    @cached_property
    def by_type(self) -> dict[str, list[Part]]:
        found: dict[str, list[Part]] = {}
        for entry in self.entries:
            resource = entry.get("resource")
            found.setdefault(resource.get("resourceType").text, []).append(resource)
        return found

    @cached_property
    def by_reference(self) -> dict[str, Part]:
        """Resources by "Type/id"."""
        return {name_of(r): r for resources in self.by_type.values() for r in resources}

    def all(self, type: str) -> list[Part]:
        """The resources of a type."""
        return self.by_type.get(type, [])

    def slot_ids(self) -> frozenset[str]:
        return frozenset(name_of(slot) for slot in self.all("Slot"))


@dataclass(frozen=True)
class Check:
    """A rule and the function that looks for what breaks it. modes: the searches whose answers it bears on."""

    rule: Rule
    run: Callable[[Answer], Iterable[Fault]]
    modes: tuple[Mode, ...] = (PS, CPTS, SOS)


def name_of(resource: Part) -> str:
    return f"{resource.get('resourceType').text}/{resource.get('id').text}"


def opened(search: Search, exchange: Exchange) -> Answer | None:
    """The answer; None when it is no Bundle with status 200."""
    body: Any = exchange.json()
    if exchange.status != 200 or not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        return None
    return Answer(search, exchange, Part("Bundle", body))


def is_web_address(text: str) -> bool:
    """An absolute http(s) URL."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def instant(text: str) -> datetime | None:
    """An instant with an offset; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
