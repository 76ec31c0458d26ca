"""The response to a search, parsed for the checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fhirstore_sas.check.model import CheckRule, Exchange
from fhirstore_sas.check.queries import PlatformSearch
from fhirstore_sas.rules import Fault, JsonNode
from fhirstore_sas.searches import CPTS, PS, SOS, Mode


@dataclass(frozen=True)
class CheckedResponse:
    """The Bundle that an endpoint returned for `search`."""

    search: PlatformSearch
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
class ResponseCheck:
    """A rule and the function that finds its faults. modes: the kinds of search to which it applies."""

    rule: CheckRule
    run: Callable[[CheckedResponse], Iterable[Fault]]
    modes: tuple[Mode, ...] = (PS, CPTS, SOS)


def name_of(resource: JsonNode) -> str:
    return f"{resource.get('resourceType').text}/{resource.get('id').text}"


def parse_response(search: PlatformSearch, exchange: Exchange) -> CheckedResponse | None:
    """The response; None if it is not a Bundle with status 200."""
    body: Any = exchange.json()
    if exchange.status != 200 or not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        return None
    return CheckedResponse(search, exchange, JsonNode("Bundle", body))


def of_each(type: str, validate: Callable[[JsonNode], Iterable[Fault]]) -> Callable[[CheckedResponse], Iterator[Fault]]:
    """A check that looks for faults in each resource of a type."""
    return lambda response: (fault for one in response.all(type) for fault in validate(one))
