"""Result parameters: what a page holds and how it looks. https://hl7.org/fhir/R4/search.html#return."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fhirstore.capability.registry import Registry
from fhirstore.errors import error
from fhirstore.model.conditions import Sort
from fhirstore.model.queries import Include
from fhirstore.search.includes import read_include
from fhirstore.search.sort import read_sort
from fhirstore.settings import Settings

_TOTALS = ("none", "estimate", "accurate")
_SUMMARIES = ("true", "text", "data", "count", "false")
_INCLUDES = ("_include", "_revinclude")
_NAMES = frozenset(("_sort", "_count", "_total", "_summary", "_elements", *_INCLUDES))
_COUNT = re.compile(r"\d{1,18}", re.ASCII)


class Results:
    """Reads the result parameters of one search; the attributes are those of `Query`."""

    def __init__(self, registry: Registry, type: str, settings: Settings):
        self._registry, self._type, self._max_count = registry, type, settings.max_count
        self._seen: dict[str, str] = {}
        self.sort: tuple[Sort, ...] = ()
        self.count: int = min(settings.default_count, settings.max_count)
        self.total: str | None = None
        self.summary: str | None = None
        self.elements: tuple[str, ...] = ()
        self.includes: list[Include] = []

    def take(self, name: str, text: str) -> bool:
        """Whether name=text is a result parameter; then it is read.

        Raises FhirError 400 for a value without meaning, UnknownParameter for an include or sort key that is not on
        offer here."""
        kind, colon, _ = name.partition(":")
        if kind not in _NAMES:
            return False
        try:
            if kind in _INCLUDES:
                self.includes.append(read_include(self._registry, self._type, name, text.strip()))
            elif colon:
                raise ValueError("it takes no modifier")
            elif self._seen.setdefault(name, text) != text:
                raise ValueError("it is given twice with different values")
            else:
                self._read(name, text.strip())
        except ValueError as e:
            raise error(400, "value", f"The search parameter {name} cannot be read: {e}.", f"http.{name}") from None
        return True

    def _read(self, name: str, text: str) -> None:
        if name == "_sort":
            self.sort = read_sort(self._registry.types[self._type], text)
        elif name == "_count":
            if not _COUNT.fullmatch(text):
                raise ValueError(f"{text[:40]!r} is not a number of entries: give 0 or more")
            if int(text) == 0:
                self.summary = "count"
            self.count = min(int(text), self._max_count)
        elif name == "_total":
            self.total = _one_of(text, _TOTALS)
        elif name == "_summary":
            asked = _one_of(text, _SUMMARIES)
            self.summary = self.summary or asked  # _count=0 has said "count" already
        else:
            self.elements = tuple(dict.fromkeys(part for item in text.split(",") if (part := item.strip())))


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(f"{text[:40]!r} is not one of {', '.join(known)}")
    return text
