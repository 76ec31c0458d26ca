"""Matches a method and a path to an interaction, for HTTP requests and Bundle entries alike."""

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
    """Immutable; threads may share it."""

    def __init__(self, routes: Iterable[Route]):
        self.routes: Sequence[Route] = tuple(routes)
        self._by_length: dict[tuple[str, int], list[tuple[tuple[str, ...], Routable]]] = {}
        # Literal segments take precedence over placeholders: Patient/_history is not a resource called _history.
        for route in sorted(self.routes, key=lambda route: sum(s.startswith("<") for s in route.segments)):
            segments = route.segments
            self._by_length.setdefault((route.method, len(segments)), []).append((segments, route.interaction))

    def match(self, method: str, path: Sequence[str]) -> tuple[Routable, Mapping[str, str]] | None:
        """The class of interactions and the values of the placeholders, None if no route matches."""
        for segments, interaction in self._by_length.get((method, len(path)), ()):
            values: dict[str, str] = {}
            for segment, given in zip(segments, path, strict=True):
                if segment[0] == "<" and given[:1] not in ("$", "_"):
                    values[segment[1:-1]] = given
                elif segment[:2] == "$<" and given[:1] == "$":
                    values[segment[2:-1]] = given[1:]
                elif segment != given:
                    break
            else:
                return interaction, values
        return None
