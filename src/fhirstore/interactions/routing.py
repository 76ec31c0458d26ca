"""Routes: which interaction a method and a path ask for, for HTTP requests and Bundle entries alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Routable(Protocol):
    """A class of interactions, as the router sees it."""

    code: str

    def from_request(self, rest: Any, path: Mapping[str, Any]) -> Any:
        """The interaction that a `base.RestRequest` asks for. path: the values of the placeholders of the route."""
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
    """The routes of a server; immutable. `bundles.match` finds the route of an entry, Flask that of an HTTP request."""

    def __init__(self, routes: Iterable[Route]):
        self.routes: Sequence[Route] = tuple(routes)
        by_length: dict[tuple[str, int], list[tuple[tuple[str, ...], Routable]]] = {}
        # Literal segments take precedence over placeholders: Patient/_history is not a resource called _history.
        for route in sorted(self.routes, key=lambda route: sum(s.startswith("<") for s in route.segments)):
            segments = route.segments
            by_length.setdefault((route.method, len(segments)), []).append((segments, route.interaction))
        self.by_length: Mapping[tuple[str, int], Sequence[tuple[tuple[str, ...], Routable]]] = by_length
        """(segments, interaction) of the routes with a method and a number of segments, in order of precedence."""
