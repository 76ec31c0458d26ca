"""Matches a method and a path to an interaction, for HTTP requests and Bundle entries alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fhirstore.interactions.rest import RestRequest


class Routable(Protocol):
    """A class of interactions, as the router sees it."""

    code: str

    def from_request(self, rest: RestRequest, path: Mapping[str, Any]) -> Any:
        """The interaction that a request asks for. path: the values of the placeholders of the route."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """pattern: the path below the base; `<name>` stands for a segment, which `interaction.from_request` receives under
    this name, and `$<name>` for one that begins with "$"."""

    method: str
    pattern: str
    interaction: Routable

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(segment for segment in self.pattern.split("/") if segment)


class Router:
    """Immutable; threads may share it."""

    def __init__(self, routes: Iterable[Route]):
        self.routes: Sequence[Route] = tuple(routes)
        # Literal segments take precedence over placeholders: Patient/_history is not a resource called _history.
        self._ordered = sorted(self.routes, key=lambda route: sum(s.startswith("<") for s in route.segments))

    def match(self, method: str, path: Sequence[str]) -> tuple[Routable, Mapping[str, str]] | None:
        """The class of interactions and the values of the placeholders, None if no route matches."""
        for route in self._ordered:
            if route.method == method and (values := _values(route.segments, path)) is not None:
                return route.interaction, values
        return None


def _values(segments: Sequence[str], path: Sequence[str]) -> dict[str, str] | None:
    if len(segments) != len(path):
        return None
    values: dict[str, str] = {}
    for segment, given in zip(segments, path, strict=True):
        if segment.startswith("<") and not given.startswith(("$", "_")):
            values[segment[1:-1]] = given
        elif segment.startswith("$<") and given.startswith("$"):
            values[segment[2:-1]] = given[1:]
        elif segment != given:
            return None
    return values
