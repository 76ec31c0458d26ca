"""The answer to a search, opened for the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fhirstore_sas.check.model import Exchange, Rule
from fhirstore_sas.check.queries import Search
from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.modes import CPTS, PS, SOS, Mode


@dataclass(frozen=True)
class Answer:
    """A Bundle that answers `search`."""

    search: Search
    exchange: Exchange
    bundle: JsonNode

    @property
    def mode(self) -> Mode:
        return self.search.mode

    @cached_property
    def entries(self) -> list[JsonNode]:
        return self.bundle.each("entry")

    @cached_property
    def by_type(self) -> dict[str, list[JsonNode]]:
        found: dict[str, list[JsonNode]] = {}
        for entry in self.entries:
            resource = entry.get("resource")
            found.setdefault(resource.get("resourceType").text, []).append(resource)
        return found

    @cached_property
    def by_reference(self) -> dict[str, JsonNode]:
        """Resources by "Type/id"."""
        return {name_of(r): r for resources in self.by_type.values() for r in resources}

    def all(self, type: str) -> list[JsonNode]:
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


def name_of(resource: JsonNode) -> str:
    return f"{resource.get('resourceType').text}/{resource.get('id').text}"


def opened(search: Search, exchange: Exchange) -> Answer | None:
    """The answer; None when it is no Bundle with status 200."""
    body: Any = exchange.json()
    if exchange.status != 200 or not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        return None
    return Answer(search, exchange, JsonNode("Bundle", body))


def of_each(type: str, judge: Callable[[JsonNode], Iterable[Fault]]) -> Callable[[Answer], Iterator[Fault]]:
    """What is wrong with the resources of a type, each looked at by itself."""
    return lambda answer: (fault for one in answer.all(type) for fault in judge(one))
